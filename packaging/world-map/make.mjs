// Makes the world map of the pages: src/obfstats/show/assets/world.json.
//
//     cd packaging/world-map && npm ci && node make.mjs > ../../src/obfstats/show/assets/world.json
//
// `npm ci` checks each package against package-lock.json, so the same commands give the same bytes.
//
// Shapes: world-atlas (ISC, Michael Bostock), countries-110m: Natural Earth's map of 1:110 million, which is in the public
// domain. Its borders are those that are in force on the ground, as Natural Earth sees them.
//
//     width, height   of the picture, in units; x to the right, y down
//     shapes          ISO code -> the d of a <path>, in whole units
//     dots            ISO code -> [x, y], for places that are too small for a shape

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { geoCentroid, geoArea, geoEqualEarth, geoPath } from "d3-geo";
import { feature, merge } from "topojson-client";

const WIDTH = 1000;
const MARGIN = 5; // a dot's radius
const ANTARCTICA = "AQ";

// Shapes without an ISO number. GeoIP files have a code for Kosovo, but none for the two others.
const UNNUMBERED = { Kosovo: "XK", "N. Cyprus": "CY", Somaliland: "SO" };

// Longitude and latitude of places that world-atlas has only as parts of other countries, or not at all.
const PLACES = {
    BQ: [-68.27, 12.18], BV: [3.4, -54.42], CC: [96.85, -12.17], CX: [105.65, -10.48], GF: [-53.1, 3.95],
    GP: [-61.55, 16.25], MQ: [-61.02, 14.65], RE: [55.53, -21.12], SJ: [16.0, 78.2], TK: [-171.85, -9.17],
    YT: [45.15, -12.83],
};

const require = createRequire(import.meta.url);
const read = (name) => JSON.parse(readFileSync(require.resolve(`world-atlas/${name}.json`)));

// ISO 3166 numbers become letters by the table of aliases in Unicode's CLDR, which Node.js has built in.
const codeOf = ({ id, properties }) => (id ? new Intl.Locale(`und-${id}`).region : UNNUMBERED[properties.name]);

function groupByCode(topology) {
    const groups = new Map();
    for (const geometry of topology.objects.countries.geometries) {
        const code = codeOf(geometry);
        if (code) groups.set(code, [...(groups.get(code) ?? []), geometry]);
    }
    return [...groups].sort(([a], [b]) => (a < b ? -1 : 1));
}

const coarse = read("countries-110m");
const shapes = groupByCode(coarse)
    .filter(([code]) => code !== ANTARCTICA)
    .map(([code, geometries]) => [code, merge(coarse, geometries)]);

// The middle of a country's largest island.
function middle(polygons) {
    const parts = polygons.map((coordinates) => ({ type: "Polygon", coordinates }));
    return geoCentroid(parts.reduce((a, b) => (geoArea(a) > geoArea(b) ? a : b)));
}

const fine = read("countries-10m");
const hasShape = new Set(shapes.map(([code]) => code));
const places = new Map(Object.entries(PLACES));
for (const [code, geometries] of groupByCode(fine)) {
    if (!hasShape.has(code) && code !== ANTARCTICA) places.set(code, middle(merge(fine, geometries).coordinates));
}

// Rotated by 11 degrees, the edge of the map passes through the Bering Strait and divides no country.
const projection = geoEqualEarth().rotate([-11, 0]);
const everything = {
    type: "GeometryCollection",
    geometries: [...shapes.map(([, shape]) => shape), { type: "MultiPoint", coordinates: [...places.values()] }],
};
projection.fitExtent([[MARGIN, MARGIN], [WIDTH - MARGIN, WIDTH]], everything);
const [[, top], [, bottom]] = geoPath(projection).bounds(everything);
projection.translate([projection.translate()[0], projection.translate()[1] - top + MARGIN]);
const height = Math.ceil(bottom - top + 2 * MARGIN);

// A path context that keeps whole units, relative to the last point, and leaves out what rounding has made equal.
function draw(shape) {
    let text = "", points = [];
    const flush = () => {
        const kept = points.filter(([px, py], i) => i === 0 || px !== points[i - 1][0] || py !== points[i - 1][1]);
        if (kept.length < 3) return;
        text += `M${kept[0][0]},${kept[0][1]}l`;
        text += kept.slice(1).map(([px, py], i) => `${px - kept[i][0]},${py - kept[i][1]}`).join(" ") + "z";
    };
    const point = (px, py) => points.push([Math.round(px), Math.round(py)]);
    geoPath(projection, {
        moveTo: (px, py) => { points = []; point(px, py); },
        lineTo: point,
        closePath: flush,
        arc: () => {},
        beginPath: () => {},
    })(shape);
    return text.replaceAll(",-", "-").replaceAll(" -", "-");
}

const dots = [...places].sort(([a], [b]) => (a < b ? -1 : 1)).map(([code, place]) => [
    code, projection(place).map(Math.round),
]);

const lines = (entries) => entries.map(([key, value]) => `    ${JSON.stringify(key)}: ${JSON.stringify(value)}`).join(",\n");
process.stdout.write(`{
  "source": "world-atlas ${require("world-atlas/package.json").version}, countries-110m (ISC, Michael Bostock): \
Natural Earth, public domain; made by packaging/world-map",
  "width": ${WIDTH},
  "height": ${height},
  "shapes": {
${lines(shapes.map(([code, shape]) => [code, draw(shape)]))}
  },
  "dots": {
${lines(dots)}
  }
}
`);
