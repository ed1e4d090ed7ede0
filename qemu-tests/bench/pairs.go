package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"text/tabwriter"
)

// rounds is how often each way to boot is measured by the wall clock: odd, for the median.
const rounds = 5

// comparePairs boots the ways without a LUN on two processors, in turn, and prints how long
// each takes to the real init in times the initramfs-tools of the same round. What
// slows the machine for minutes slows both.
func comparePairs(ctx context.Context, rows []row) error {
	ways := slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return r.lun || r.name == dracutName })
	peer := slices.IndexFunc(ways, func(r row) bool { return r.name == peerName })
	if peer < 0 {
		return fmt.Errorf("the table with two processors compares with %s: leave out --only", peerName)
	}
	ratios := make([][]float64, len(ways))
	for round := range rounds {
		for i := range ways {
			ways[i].processors, ways[i].capture = 2, false
			if err := ways[i].boot(ctx); err != nil {
				return fmt.Errorf("%s with two processors: %w", ways[i].name, err)
			}
		}
		fmt.Fprintf(os.Stderr, "bench: two processors: round %d of %d\n", round+1, rounds)
		for i := range ways {
			ratios[i] = append(ratios[i], ways[i].figures.realinit/ways[peer].figures.realinit)
		}
	}
	fmt.Printf("\nTwo processors, wall clock, %d rounds: kernel start to real init, times initramfs-tools of the same round\n", rounds)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tmedian\tleast\tmost\t")
	for i, r := range ways {
		slices.Sort(ratios[i])
		fmt.Fprintf(w, "%s\t%.2f\t%.2f\t%.2f\t\n", r.name, ratios[i][rounds/2], ratios[i][0], ratios[i][rounds-1])
	}
	return w.Flush()
}
