package tree

import "path"

// RunsSystemd tells whether the tree's init program, see FindInit, is systemd: its
// directory in /run tells programs that they run under it, so that it may not
// be there under another.
func (t Tree) RunsSystemd(wanted string) bool {
	program, err := t.FindInit(wanted)
	if err != nil {
		return false
	}
	resolved, err := t.Resolve(program)
	return err == nil && path.Base(resolved) == "systemd"
}
