package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sidusboot/sidusboot/rwlayer"
	"github.com/sidusboot/sidusboot/tree"
	"github.com/sidusboot/sidusboot/union"
)

// treeName is what an upper layer remembers of the tree: the version, or of a plain
// tree what can be known. It is empty where that is nothing.
func (n *node) treeName() string {
	if n.root.Version != "" {
		return n.root.Version
	}
	if known := tree.At(roDir).Fingerprint(); known != "" {
		return "plain-" + known
	}
	return ""
}

// matchUpper acts by sidus.rw.mismatch= and sidus.rw.reset= on the upper layer of
// the volume on /rw.
func (n *node) matchUpper() error {
	m, err := rwlayer.MatchLower(rwDir, rwlayer.LowerOptions{
		Tree: n.treeName(), Policy: rwlayer.MismatchPolicy(n.cfg.RW.Mismatch), Reset: n.cfg.RW.Reset,
		Now: time.Now(), Waiting: n.waitFor,
	})
	var stop *rwlayer.MismatchError
	if errors.As(err, &stop) {
		return err
	}
	if err != nil {
		n.note(err.Error() + ": the node boots with the unchanged layer")
	}
	n.report.RW.Begun, n.report.RW.Archived = m.Tree, m.Archived
	const upper = rwDir + "/" + rwlayer.Upper
	switch {
	case m.Reset:
		parameter := "sidus.rw.mismatch=reset"
		if !m.Mismatch || n.cfg.RW.Mismatch != "reset" {
			parameter = "sidus.rw.reset=" + n.cfg.RW.Reset
		}
		n.note(fmt.Sprintf("rw: the upper layer of this node, made over the tree %s, was emptied (%s)", cmp.Or(m.Tree, "(unknown)"), parameter))
	case m.Archived != "":
		n.note(fmt.Sprintf("rw: the upper layer of this node was made over the tree %s, and is %s/%s now (sidus.rw.mismatch=archive): delete it when it is not needed",
			m.Tree, rwDir, m.Archived))
	case m.Mismatch:
		n.sayShadowed(upper, m.Tree)
	}
	return nil
}

// sayShadowed says what an upper layer hides of another tree than that on which it
// was begun.
func (n *node) sayShadowed(upper, begun string) {
	text := fmt.Sprintf("rw: the upper layer of this node was made over the tree %s, but this boot's tree is %s", begun, n.treeName())
	hidden := union.HiddenFiles(roDir, upper, n.report.Kernel)
	if len(hidden) == 0 {
		n.log.Noticef("%s; it hides none of the tree's important files", text)
	} else {
		n.note(text + ": it hides the tree's " + strings.Join(hidden, ", ") + ": sidus.rw.mismatch=archive begins a new one")
	}
	if name := union.RenamedDir(upper); name != "" {
		n.note("rw: the directory " + name + " of the upper layer was renamed over another tree, and its content over this one is undefined: sidus.rw.mismatch=archive begins a new layer")
	}
}
