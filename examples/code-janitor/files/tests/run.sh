# Every test of the repository, as TAP. Exits with 1 if one fails.
failed=0
number=0

expect() {
    number=$((number + 1))
    found=$(sh src/slug.sh "$2")
    if [ "$found" = "$3" ]; then
        echo "ok $number - $1"
    else
        echo "not ok $number - $1: expected '$3', found '$found'"
        failed=1
    fi
}

expect "words" "Hello World" "hello-world"
expect "digits" "Report 2025" "report-2025"
expect "marks between words" "Cats, dogs & birds" "cats-dogs-birds"
expect "marks around words" "(Draft)" "draft"
expect "dots at the end" "To be continued..." "to-be-continued"
echo "1..$number"
exit $failed
