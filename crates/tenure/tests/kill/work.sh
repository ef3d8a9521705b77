# One step of some work: `work.sh SEED STEP`. What it leaves depends on what it finds, so a step that is lost,
# done twice, or done on files of one that was cut off is seen in every step that follows.
set -eu
seed=$1 step=$2
[ ! -e half ] || echo "step $step found a step that was cut off" >> wrong
: > half
# Nobody waits for it, and nothing of the sandbox stops it but the sandbox's end.
setsid sleep 600 < /dev/null > /dev/null 2>&1 &
mkdir -p "part$((step % 3))" outputs
for number in 0 1 2 3 4 5 6 7 8 9; do
    echo "$seed $step $number" >> "part$((step % 3))/$number"
done
rm -rf "part$(((step + 1) % 3))/$((step % 10))"
awk -v seed="$seed" -v step="$step" 'BEGIN { for (n = 0; n < 20000; n++) print seed, step, n }' > big
chmod "6$((step % 8))0" big
ln -sf "part$((step % 3))" latest
sleep "0.0$((seed % 10))"
echo "$seed $step" >> log
mv -f log outputs/log && cp outputs/log log
rm half
find . -type f | LC_ALL=C sort | xargs cat | cksum
