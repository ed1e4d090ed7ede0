package main

import (
	"path/filepath"

	"github.com/sidusboot/sidusboot/tree"
)

// unitDir is where units are put for systemd.
const unitDir = "/run/systemd/system"

// runsSystemd tells whether the node will run systemd.
func (n *node) runsSystemd() bool {
	program, err := tree.At(unionDir).FindInit(n.cfg.Init)
	return err == nil && isSystemd(unionDir, program)
}

// isSystemd tells whether the init program of the tree in root is systemd: its
// directory in /run tells programs that they run under it, so that it may not
// be there under another.
func isSystemd(root, program string) bool {
	resolved, err := tree.At(root).Resolve(program)
	return err == nil && filepath.Base(resolved) == "systemd"
}
