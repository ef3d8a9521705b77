# The part of an address that a title becomes: slug.sh TITLE
set -eu
printf '%s' "$1" |
    tr '[:upper:]' '[:lower:]' |
    tr -c '[:alnum:]' '-' |
    sed 's/^-//; s/-$//'
