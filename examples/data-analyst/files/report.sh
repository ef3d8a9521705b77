# The house style of reports: region,before,after,growth in thousandths on standard input, files below outputs.
set -eu
{ echo "region,cents_2024,cents_2025,growth_per_mille"; cat; } > outputs/growth.csv
awk -F , '
    function money(cents) { return sprintf("%d.%02d", cents / 100, cents % 100) }
    function percent(growth, sign) {
        sign = growth < 0 ? "-" : ""
        if (growth < 0) growth = -growth
        return sprintf("%s%d.%d", sign, growth / 10, growth % 10)
    }
    NR == 1 {
        print "# Sales by region\n"
        print "| Region | 2024 | 2025 | Growth |\n|---|---|---|---|"
        next
    }
    {
        printf "| %s | %s | %s | %s %% |\n", $1, money($2), money($3), percent($4)
        total += $3
        if (fastest == "" || $4 + 0 > most) { fastest = $1; most = $4 + 0 }
    }
    END { printf "\nFastest: %s, %s %%; total %s\n", fastest, percent(most), money(total) }
' outputs/growth.csv > outputs/report.md
tail -n 1 outputs/report.md
