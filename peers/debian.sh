# Debian releases, each installed into a folder of its own with debootstrap, in which commands run with chroot.
# Sourced by script/test-debian, script/test-package and script/test-machine; needs root. Debian's mirror and apt's settings are those of this
# machine's apt, pip's settings are those of this machine's pip.
# The script that sources this has defined say, which prints a line, and die, which prints it and ends.
# shellcheck shell=bash

# What apt and pip need to reach their servers: proxies, certificates, indexes. Where the first process has the variable
# container, Debian's procps does not apply a package's sysctl.d to this machine's kernel.
chroot_environment=(container=chroot HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive)
while IFS= read -r variable; do chroot_environment+=("$variable"); done \
    < <(env | grep -iE '^(PIP_|SSL_CERT_|[a-z]+_proxy=)')

# Sets $mirror; ends where chroots cannot be made.
need_chroots() {
    [ "$(id -u)" = 0 ] || die "chroot needs root"
    command -v debootstrap >/dev/null || die "debootstrap is missing: apt-get install debootstrap"
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' \
        | sort -u | head -n 1)
    [ -n "$mirror" ] || die "apt has no Debian mirror: run apt-get update"
}

# inside ROOT COMMAND...: in a mount and process namespace of its own, so that nothing stays mounted and no process is
# left over.
inside() {
    local root=$1
    shift
    # shellcheck disable=SC2016
    unshare --mount --pid --fork --kill-child sh -euc '
        root=$0
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        mount -t tmpfs tmpfs "$root/dev/shm"
        exec chroot "$root" "$@"
    ' "$root" env -i "${chroot_environment[@]}" "$@"
}

# copy_settings ROOT
copy_settings() {
    local root=$1 file
    cp -L /etc/resolv.conf "$root/etc/resolv.conf"
    apt-config dump Acquire >"$root/etc/apt/apt.conf.d/90this-machine"
    for file in /etc/pip.conf /etc/xdg/pip/* ~/.config/pip/* ~/.pip/*; do
        [ -f "$file" ] || continue
        mkdir -p "$root${file%/*}"
        cp -L "$file" "$root$file"
    done
    if [ -f /etc/ssl/certs/ca-certificates.crt ]; then
        mkdir -p "$root/etc/ssl/certs"
        cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
    fi
}

# install_release RELEASE ROOT: installs it, or updates what is there. Its output is in ROOT.log.
install_release() {
    local release=$1 root=$2
    if ! [ -e "$root/installed" ]; then
        say "installing $release"
        rm -rf --one-file-system "$root"
        # Packages of ours need ca-certificates, which would replace the copied ones when it is installed later.
        debootstrap --variant=minbase --include=ca-certificates "$release" "$root" "$mirror" >"$root.log" 2>&1 \
            || { tail -n 20 "$root.log" >&2; die "debootstrap failed"; }
        # Installing tor must not start it.
        printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
        chmod +x "$root/usr/sbin/policy-rc.d"
        touch "$root/installed"
    fi
    copy_settings "$root"
    inside "$root" sh -c 'apt-get -q update && apt-get -q -y dist-upgrade' >"$root.log" 2>&1 \
        || { tail -n 20 "$root.log" >&2; die "apt-get failed"; }
    # apt-get replaces the certificates.
    copy_settings "$root"
}
