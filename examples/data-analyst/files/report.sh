# The house style of reports: CSV on standard input, files below outputs. Its columns are region, cents_2024,
# cents_2025, growth_per_mille and, where the costs are known, margin_cents_2025.
set -eu
cat > outputs/growth.csv
awk -F , '
    function money(cents) { return sprintf("%d.%02d", cents / 100, cents % 100) }
    function percent(growth, sign) {
        sign = growth < 0 ? "-" : ""
        if (growth < 0) growth = -growth
        return sprintf("%s%d.%d", sign, growth / 10, growth % 10)
    }
    NR == 1 {
        costs = NF > 4
        print "# Sales by region\n"
        print "| Region | 2024 | 2025 | Growth |" (costs ? " Margin 2025 |" : "")
        print "|---|---|---|---|" (costs ? "---|" : "")
        next
    }
    {
        printf "| %s | %s | %s | %s %% |%s\n", $1, money($2), money($3), percent($4), (costs ? " " money($5) " |" : "")
        total += $3
        margin += $5
        if (fastest == "" || $4 + 0 > most) { fastest = $1; most = $4 + 0 }
    }
    END {
        printf "\nFastest: %s, %s %%; total %s", fastest, percent(most), money(total)
        if (costs) printf "; margin %s", money(margin)
        print ""
    }
' outputs/growth.csv > outputs/report.md
tail -n 1 outputs/report.md
