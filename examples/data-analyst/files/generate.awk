# Two years of invented sales, the same for the same seed: awk -v seed=1 -f generate.awk > sales.csv
#
# Chance is the generator of Park and Miller (16807, 2^31 - 1), whose products are exact in every awk. Money is
# in cents, because cents add up.

function chance(limit) {
    state = (state * 16807) % 2147483647
    return state % limit
}

BEGIN {
    state = seed
    split("north east south west", regions)
    split("Desk-lamp Office-chair Keyboard Monitor Backpack Kettle", products)
    split("3900 21900 12900 28900 8900 5900", prices)
    # Sales a month in each region at first, and how many more every quarter.
    split("24 30 27 21", sales)
    split("1 0 3 0", more)
    print "date,region,product,quantity,total_cents"
    for (month = 0; month < 24; month++)
        for (region = 1; region <= 4; region++) {
            count = sales[region] + more[region] * int(month / 3) + chance(5)
            for (n = 0; n < count; n++) {
                product = 1 + chance(6)
                quantity = 1 + chance(3)
                date = sprintf("%d-%02d-%02d", 2024 + int(month / 12), 1 + month % 12, 1 + chance(28))
                printf "%s,%s,%s,%d,%d\n", date, regions[region], products[product], quantity, \
                    prices[product] * quantity
            }
        }
}
