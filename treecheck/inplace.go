package treecheck

import (
	"fmt"

	"github.com/sidusboot/sidusboot/stamp"
	"github.com/sidusboot/sidusboot/versions/layout"
)

// inPlace looks at what a tree has that is changed while nodes run it: the stamp,
// the hook, and what was set aside.
func (c *check) inPlace() {
	if c.tree.IsDir("/" + layout.Stamp) {
		c.add(Finding{Name: "stamp", Severity: Warning, Problem: "the stamp is a directory: nodes do not learn that the tree has changed",
			Remedy: "remove it, then sidustree touch"}, "/"+layout.Stamp)
	}
	if !c.tree.IsDir("/etc") {
		return
	}
	t, err := stamp.Open(c.dir)
	if err != nil {
		return // A version of a base: it does not change.
	}
	if state := t.Hook(); state == stamp.HookOther {
		c.add(Finding{Name: "hook", Severity: Warning, Problem: "the hook for apt and dpkg is from another version of sidustree, or a part of it is missing",
			Remedy: "install the hook again, by sidustree touch"}, t.HookFiles()...)
	}
	aside := "/" + layout.Aside
	info, err := c.tree.Lstat(aside)
	if err != nil {
		return
	}
	if !info.IsDir() {
		c.add(Finding{Name: "aside", Severity: Warning, Problem: "there is something else in place of the directory for replaced files: apt is refused", Remedy: "remove it"}, aside)
		return
	}
	if info.Mode().Perm()&0o077 != 0 {
		c.add(Finding{Name: "aside-open", Severity: Warning, Problem: "every user can run and read replaced files, also old setuid programs whose faults have been corrected since",
			Remedy: "chmod 700 " + layout.Aside}, aside)
	}
	sets, err := t.Sets()
	if err != nil || len(sets) == 0 {
		return
	}
	var paths []string
	for _, set := range sets {
		paths = append(paths, aside+"/"+set.Name)
	}
	c.add(Finding{Name: "set-aside", Severity: Note, Problem: fmt.Sprintf("replaced files are kept for nodes that have them open, the last ones until %s", sets[len(sets)-1].Until.Format("2006-01-02 15:04 MST")),
		Remedy: "nothing: the hook, or sidustree touch, removes each set when its time has passed; publish does not copy them"}, paths...)
}
