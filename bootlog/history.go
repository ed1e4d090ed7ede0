package bootlog

import (
	"fmt"
	"slices"
)

// A History keeps the first and the last texts that are added to it, and counts
// those between: a node that tries again for weeks must not fill its memory. The
// zero History is ready for use.
type History struct {
	// keep is how many are kept at either end; zero: defaultKeep.
	keep        int
	first, last []string
	dropped     int
}

const (
	// defaultKeep is for failures, logKeep for the lines of boot.log.
	defaultKeep = 20
	logKeep     = 500
)

// Add adds a text.
func (h *History) Add(text string) {
	keep := h.keep
	if keep == 0 {
		keep = defaultKeep
	}
	switch {
	case len(h.first) < keep:
		h.first = append(h.first, text)
	case len(h.last) < keep:
		h.last = append(h.last, text)
	default:
		copy(h.last, h.last[1:])
		h.last[keep-1] = text
		h.dropped++
	}
}

// texts are what was kept, with a line for what was not.
func (h *History) texts() []string {
	all := slices.Clone(h.first)
	if h.dropped > 0 {
		all = append(all, fmt.Sprintf("… %d more, not kept …", h.dropped))
	}
	return append(all, h.last...)
}
