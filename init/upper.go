package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/overlay"
	"github.com/sidusboot/sidusboot/rwlayer"
	"github.com/sidusboot/sidusboot/tree"
)

// upperTime is what a search through an upper layer may take that does not decide
// the boot.
const upperTime = 5 * time.Second

// treeName is what an upper layer remembers of the tree: the version, or of a plain
// tree what can be known. It is empty where that is nothing.
func (n *node) treeName() string {
	if n.treeVersion != "" {
		return n.treeVersion
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
		n.note(err.Error() + ": the node boots with the layer as it is")
	}
	n.report.RW.Begun, n.report.RW.Archived = m.Tree, m.Archived
	const upper = rwDir + "/" + rwlayer.Upper
	switch {
	case m.Reset:
		parameter := "sidus.rw.mismatch=reset"
		if !m.Mismatch || n.cfg.RW.Mismatch != "reset" {
			parameter = "sidus.rw.reset=" + n.cfg.RW.Reset
		}
		n.note(fmt.Sprintf("rw: the upper layer of this node, begun on the tree %s, has been emptied (%s)", cmp.Or(m.Tree, "(unknown)"), parameter))
	case m.Archived != "":
		n.note(fmt.Sprintf("rw: the upper layer of this node was begun on the tree %s, and is %s/%s now (sidus.rw.mismatch=archive): delete it when it is not needed",
			m.Tree, rwDir, m.Archived))
	case m.Mismatch:
		n.sayShadowed(upper, m.Tree)
	}
	return nil
}

// importantFiles are those of the tree that a node must not have an old copy of.
var importantFiles = []string{
	"/var/lib/dpkg/status", "/var/lib/rpm/rpmdb.sqlite", "/usr/lib/sysimage/rpm/rpmdb.sqlite", "/etc/ld.so.cache",
	"/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow",
}

// sayShadowed says what an upper layer hides of another tree than that on which it
// was begun.
func (n *node) sayShadowed(upper, begun string) {
	var names []string
	for _, name := range append(importantFiles, "/lib/modules/"+n.report.Kernel+"/modules.dep") {
		if resolved, err := tree.At(roDir).Resolve(name); err == nil {
			names = append(names, resolved)
		}
	}
	text := fmt.Sprintf("rw: the upper layer of this node was begun on the tree %s, this boot's is %s", begun, n.treeName())
	hidden := overlay.Shadowed(roDir, upper, names...)
	if len(hidden) == 0 {
		n.log.Noticef("%s; it hides none of the tree's important files", text)
	} else {
		n.note(text + ": it hides the tree's " + strings.Join(hidden, ", ") + ": sidus.rw.mismatch=archive begins a new one")
	}
	ctx, cancel := context.WithTimeout(context.Background(), upperTime)
	defer cancel()
	if name := overlay.Redirected(ctx, upper); name != "" {
		n.note("rw: the directory " + name + " of the upper layer was renamed on another tree: what it shows on this one is not defined: sidus.rw.mismatch=archive begins a new layer")
	}
}

// maxHidden is how many files are named.
const maxHidden = 5

// mountUsr mounts the tree's /usr over that of the union, for sidus.usr=direct. What
// prevents that is said, and the union's /usr stays.
func (n *node) mountUsr(upper string) {
	if !n.cfg.UsrDirect {
		return
	}
	if err := overlay.CheckMerged(unionDir); err != nil {
		n.note(fmt.Sprintf("union: sidus.usr=direct has no effect: %v: install usrmerge in the tree", err))
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), upperTime)
	defer cancel()
	if names := overlay.Files(ctx, upper, "/usr", maxHidden); len(names) > 0 {
		n.note("union: sidus.usr=direct hides what this node has changed in /usr, such as " + strings.Join(names, ", "))
	}
	// A bind mount is read-only as the mount is that it comes from.
	if err := n.system.Mount(roDir+"/usr", unionDir+"/usr", "", unix.MS_BIND, ""); err != nil {
		n.note(fmt.Sprintf("union: sidus.usr=direct has no effect: mount /usr: %v", err))
		return
	}
	n.report.Union.UsrDirect = true
}
