package stamp

import (
	_ "embed" // The hook's script.
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sidusboot/sidusboot/versions/layout"
)

//go:embed hook.sh
var script string

// Where the hook is in the tree: the script, and the files by which apt and dpkg
// run it.
const (
	hookFile = "etc/sidusboot/dpkg-hook"
	aptFile  = "etc/apt/apt.conf.d/80sidusboot"
	dpkgFile = "etc/dpkg/dpkg.cfg.d/sidusboot"
)

// aptConf passes apt's list of packages in its third form (apt.conf(5)), which
// has removals in it.
const aptConf = `// Made by sidustree touch --install-hook: see /` + hookFile + `.
DPkg::Pre-Install-Pkgs { "/` + hookFile + ` apt"; };
DPkg::Tools::Options::/` + hookFile + `::Version "3";
DPkg::Post-Invoke { "test ! -x /` + hookFile + ` || /` + hookFile + ` after"; };
`

const dpkgConf = `# Made by sidustree touch --install-hook: see /` + hookFile + `.
pre-invoke=test ! -x /` + hookFile + ` || /` + hookFile + ` dpkg
post-invoke=test ! -x /` + hookFile + ` || /` + hookFile + ` dpkg-after
`

// Limits of how long files are kept aside.
const (
	MinKeep = time.Minute
	MaxKeep = 3650 * 24 * time.Hour
)

// InstallHook puts the hook into the tree, or replaces an older one, and returns
// the files that it consists of. keep is how long replaced files are kept.
func (t Tree) InstallHook(keep time.Duration) ([]string, error) {
	if keep < MinKeep || keep > MaxKeep {
		return nil, fmt.Errorf("cannot keep replaced files for %v: choose %v to %v", keep, MinKeep, MaxKeep)
	}
	if !t.tree.IsDir("/var/lib/dpkg") {
		return nil, &TreeError{t.dir, "has no dpkg", "run sidustree touch yourself after each change"}
	}
	// In this order each of them works without those that come later.
	files := []struct{ name, text string }{{hookFile, HookScript(keep)}, {aptFile, aptConf}, {dpkgFile, dpkgConf}}
	var names []string
	for _, f := range files {
		if err := t.tree.Replace(f.name, []byte(f.text)); err != nil {
			return names, err
		}
		names = append(names, f.name)
		if f.name != hookFile {
			continue
		}
		inside, err := t.tree.Resolve(hookFile)
		if err != nil {
			return names, err
		}
		// It has no links any more.
		if err := os.Chmod(filepath.Join(t.dir, inside), 0o755); err != nil {
			return names, err
		}
	}
	return names, nil
}

// States of the hook in a tree.
const (
	HookNone  = "none"
	HookThis  = "this"  // as InstallHook makes it
	HookOther = "other" // of another program, changed by hand, or not whole
)

// Hook tells which hook the tree has.
func (t Tree) Hook() string {
	text, err := t.tree.ReadFile(hookFile)
	_, aptErr := t.tree.Lstat(aptFile)
	_, dpkgErr := t.tree.Lstat(dpkgFile)
	if err != nil && aptErr != nil && dpkgErr != nil {
		return HookNone
	}
	_, rest, _ := strings.Cut(string(text), "\nkeep=")
	minutes, _, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(minutes)
	if err != nil || string(text) != HookScript(time.Duration(n)*time.Minute) {
		return HookOther
	}
	for name, want := range map[string]string{aptFile: aptConf, dpkgFile: dpkgConf} {
		if got, err := t.tree.ReadFile(name); err != nil || string(got) != want {
			return HookOther
		}
	}
	return HookThis
}

// HookFiles are the files of which a hook consists.
func (t Tree) HookFiles() []string { return []string{"/" + hookFile, "/" + aptFile, "/" + dpkgFile} }

// RemoveHook takes the hook out of the tree. What it has set aside, and the
// stamp, stay.
func (t Tree) RemoveHook() error {
	// What runs the script goes before it does.
	for _, name := range []string{aptFile, dpkgFile, hookFile} {
		if err := t.tree.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// HookScript is the hook's text.
func HookScript(keep time.Duration) string {
	return strings.NewReplacer(
		"@KEEP@", strconv.Itoa(int(keep/time.Minute)), "@ASIDE@", layout.Aside, "@STAMP@", layout.Stamp,
	).Replace(script)
}

// ParseKeep reads a time to keep files: a number with d, h or m behind it.
func ParseKeep(s string) (time.Duration, error) {
	units := map[string]time.Duration{"d": 24 * time.Hour, "h": time.Hour, "m": time.Minute}
	if s != "" {
		unit := units[s[len(s)-1:]]
		n, err := strconv.ParseUint(s[:len(s)-1], 10, 32)
		if err == nil && unit > 0 && n > 0 && n <= uint64(MaxKeep/unit) {
			return time.Duration(n) * unit, nil
		}
	}
	return 0, fmt.Errorf("%q is not a time to keep files: give a number of days, hours or minutes, for example 7d, at most 3650d", s)
}
