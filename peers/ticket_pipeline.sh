# The script of ticket 5047, word for word: it reads the file `data`. Only this locale is ours; under another one sort
# passes over the ?? of unknown countries, and uniq counts them in pieces.
export LC_ALL=C
echo "Daily rounded total requests by country"
cut -d" " -f1-3 data | sort | uniq -c | \
awk '{printf "%s %s %s %d\n", $2, $3, $4, 8*(int(($1+7)/8))}'
echo "Daily rounded unique IPs by country"
sort data | uniq | cut -d" " -f1-3 | uniq -c | \
awk '{printf "%s %s %s %d\n", $2, $3, $4, 8*(int(($1+7)/8))}'
