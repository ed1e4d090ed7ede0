package config

import "strings"

// nearest returns the parameter that a name was probably meant to be, or "" where
// none is near.
func nearest(name string) string {
	best, bestDistance := "", 1+len(strings.TrimPrefix(name, "sidus."))/4
	for _, w := range parameters {
		if !strings.HasPrefix(w.name, "sidus.") {
			continue
		}
		// The length bounds the work: a name can be as long as the command line.
		if diff := len(w.name) - len(name); max(diff, -diff) > bestDistance {
			continue
		}
		if d := editDistance(name, w.name); d < bestDistance || d == bestDistance && best == "" {
			best, bestDistance = w.name, d
		}
	}
	return best
}

// editDistance counts the insertions, deletions, changes and swaps of
// neighbours that turn a into b.
func editDistance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			change := last[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
