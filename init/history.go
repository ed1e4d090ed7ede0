package main

import (
	"fmt"
	"slices"
)

// A history keeps the first and the last texts that it is told, and counts those
// between: a node that tries on for weeks must not fill its memory with that.
type history struct {
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

func (h *history) add(text string) {
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
func (h *history) texts() []string {
	all := slices.Clone(h.first)
	if h.dropped > 0 {
		all = append(all, fmt.Sprintf("… %d more, not kept …", h.dropped))
	}
	return append(all, h.last...)
}
