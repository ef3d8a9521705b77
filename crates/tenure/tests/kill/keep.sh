# Leaves a word in a file, in one that is published, and in an output of some hundred kilobytes.
set -eu
mkdir -p outputs
printf 'the word is %s\n' "$1" > "file-$1.txt"
cp "file-$1.txt" "outputs/$1.txt"
awk -v word="$1" 'BEGIN { for (n = 0; n < 12000; n++) print word, n }'
