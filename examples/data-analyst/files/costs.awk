# What the invented goods cost, the same for the same seed, as CSV: awk -v seed=1 -f costs.awk
#
# A product's line holds from its date until its next one, at the beginning of every quarter. The duty is a share of
# the cost. Chance is that of generate.awk.

function chance(limit) {
    state = (state * 16807) % 2147483647
    return state % limit
}

BEGIN {
    state = seed
    split("Desk-lamp Office-chair Keyboard Monitor Backpack Kettle", products)
    split("2100 13500 7400 19800 4700 3300", costs)
    print "product,since,supplier,cost_cents,duty"
    for (quarter = 0; quarter < 8; quarter++)
        for (product = 1; product <= 6; product++) {
            costs[product] += int(costs[product] * (chance(41) - 15) / 1000)
            printf "%s,%d-%02d-01,%d,%d,%.3f\n", products[product], 2024 + int(quarter / 4), \
                1 + quarter % 4 * 3, 100 + chance(9), costs[product], chance(5) * 15 / 1000
        }
}
