// Package treecheck looks at a root tree before nodes boot from it, and says
// what will go wrong there, with a remedy for each.
//
// It reads the tree, beneath its root directory only, and the NFS server's table
// of exports.
package treecheck

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/tree"
)

// A Severity says how bad a finding is.
type Severity string

const (
	// Fatal: no node boots this tree.
	Fatal Severity = "fatal"
	// Warning: something on the nodes will not work, or is not safe.
	Warning Severity = "warning"
	// Note: something to know; sidusboot copes with it.
	Note Severity = "note"
)

// A Finding is one thing about the tree, with all the places where it is so.
type Finding struct {
	// Name tells the kinds of findings apart, "file-capabilities" for example.
	Name     string   `json:"name"`
	Severity Severity `json:"severity"`
	// Problem and Remedy are sentences.
	Problem string `json:"problem"`
	Remedy  string `json:"remedy"`
	// Paths are in the tree; the first few where there are many. Count is how
	// many there are.
	Paths []string `json:"paths,omitempty"`
	Count int      `json:"count,omitempty"`
}

// maxPaths is how many places a finding names.
const maxPaths = 20

// Options are where the rest is.
type Options struct {
	// Exports is the table of the kernel's NFS server, /var/lib/nfs/etab
	// (exportfs(8)); empty, or not there: exports are not looked at.
	Exports string
}

// A FatalError is a tree that no node can boot.
type FatalError struct{ Findings []Finding }

func (e *FatalError) Error() string {
	texts := make([]string, len(e.Findings))
	for i, f := range e.Findings {
		texts[i] = f.Problem + ": " + f.Remedy
	}
	return strings.Join(texts, "; ")
}

// Refusal returns a *FatalError for what is fatal among findings, else nil.
func Refusal(findings []Finding) error {
	fatal := slices.DeleteFunc(slices.Clone(findings), func(f Finding) bool { return f.Severity != Fatal })
	if len(fatal) == 0 {
		return nil
	}
	return &FatalError{fatal}
}

// A check collects findings.
type check struct {
	dir  string
	tree tree.Tree
	all  []Finding
}

// Check looks at the tree in dir. The findings come in a fixed order: what is
// fatal first. The error is for a tree that cannot be read.
func Check(ctx context.Context, dir string, o Options) ([]Finding, error) {
	if info, err := os.Stat(dir); err != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, fmt.Errorf("%s is no directory: name the root directory of a tree", dir)
	}
	dir, err := filepath.Abs(dir) // Names are cut off it.
	if err != nil {
		return nil, err
	}
	c := &check{dir: dir, tree: tree.At(dir)}
	c.init()
	c.kernels()
	c.identity()
	c.fstab()
	c.resolver()
	if err := c.exports(o.Exports); err != nil {
		return nil, err
	}
	if err := c.walk(ctx); err != nil {
		return nil, err
	}
	order := []Severity{Fatal, Warning, Note}
	slices.SortStableFunc(c.all, func(a, b Finding) int {
		return slices.Index(order, a.Severity) - slices.Index(order, b.Severity)
	})
	return c.all, nil
}

// add notes a finding, if there is any place of it.
func (c *check) add(f Finding, paths ...string) {
	if len(paths) == 0 {
		return
	}
	f.Count = len(paths)
	f.Paths = paths[:min(len(paths), maxPaths)]
	c.all = append(c.all, f)
}

func (c *check) init() {
	inits := tree.Inits()
	for _, name := range inits {
		if c.tree.Executable(name) == nil {
			if name == "/bin/sh" {
				c.add(Finding{Name: "init", Severity: Warning, Problem: "the tree has a shell, but no init",
					Remedy: "install systemd-sysv or sysvinit-core in it, or name a program with init="}, name)
			}
			return
		}
	}
	c.add(Finding{Name: "init", Severity: Fatal, Problem: "the tree has no program to start: " + strings.Join(inits, ", ") + " are missing, or links that lead nowhere, or no executable files",
		Remedy: "install systemd-sysv in it"}, inits[0])
}

// kernels compares what is in /boot with the modules.
func (c *check) kernels() {
	modules := make(map[string]fs.FileInfo)
	for _, name := range c.list("/lib/modules") {
		if info, err := c.tree.Stat("/lib/modules/" + name + "/modules.dep"); err == nil {
			modules[name] = info
		}
	}
	if len(modules) == 0 {
		c.add(Finding{Name: "modules", Severity: Fatal, Problem: "the tree has no kernel modules", Remedy: "install a kernel in it, linux-image-amd64 for example"}, "/lib/modules")
	}
	var without, old []string
	kernels := 0
	for _, name := range c.list("/boot") {
		release, ok := strings.CutPrefix(name, "vmlinuz-")
		if !ok {
			continue
		}
		kernels++
		info := modules[release]
		if info == nil {
			without = append(without, "/boot/"+name)
			continue
		}
		for _, image := range []string{"/boot/initrd-sidus-" + release, "/boot/initrd.img-" + release} {
			if i, err := c.tree.Stat(image); err == nil && i.ModTime().Before(info.ModTime()) {
				old = append(old, image)
			}
		}
	}
	c.add(Finding{Name: "kernel-without-modules", Severity: Warning, Problem: "kernels whose modules are missing",
		Remedy: "install the whole package, or remove the kernel: nodes that boot it find no drivers"}, without...)
	c.add(Finding{Name: "old-image", Severity: Warning, Problem: "images that are older than the modules of their kernel",
		Remedy: "make them anew with initrdgen build"}, old...)
	if kernels == 0 && len(modules) > 0 {
		c.add(Finding{Name: "no-kernel", Severity: Note, Problem: "the tree has modules, but no kernel in /boot", Remedy: "nothing, where the boot server has the kernel"}, "/boot")
	}
}

// identity finds what should be different on each node.
func (c *check) identity() {
	if b, err := c.tree.ReadFile("/etc/machine-id"); err == nil {
		if id := strings.TrimSpace(string(b)); id != "" && id != "uninitialized" {
			c.add(Finding{Name: "machine-id", Severity: Note, Problem: "the tree has a machine-id",
				Remedy: "nothing: each node gets its own; with sidus.identity=-machine-id all would have this one: empty the file"}, "/etc/machine-id")
		}
	}
	if keys := c.glob("/etc/ssh/ssh_host_*_key"); len(keys) > 0 {
		c.add(Finding{Name: "ssh-keys", Severity: Warning, Problem: "the tree has ssh host keys: all nodes have them, and every node can read them",
			Remedy: "remove them: rm etc/ssh/ssh_host_*"}, keys...)
	}
	for _, name := range []string{"/var/lib/systemd/random-seed", "/var/lib/urandom/random-seed"} {
		if info, err := c.tree.Stat(name); err == nil && info.Size() > 0 {
			c.add(Finding{Name: "random-seed", Severity: Warning, Problem: "the tree has a random seed: all nodes begin with the same", Remedy: "remove it"}, name)
		}
	}
	if b, err := c.tree.ReadFile("/etc/hostname"); err == nil && strings.TrimSpace(string(b)) != "" {
		c.add(Finding{Name: "hostname", Severity: Note, Problem: "the tree has a host name, " + plain(strings.TrimSpace(string(b))),
			Remedy: "nodes to which DHCP gives no name will all be called so: empty /etc/hostname, or see that DHCP gives names"}, "/etc/hostname")
	}
}

// fstab finds lines about disks, which the machine had that the tree was copied
// from.
func (c *check) fstab() {
	b, err := c.tree.ReadFile("/etc/fstab")
	if err != nil {
		return
	}
	var disks []string
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || strings.HasPrefix(fields[0], "#") || len(fields) > 3 && hasOption(fields[3], "nofail", "noauto") {
			continue
		}
		if fields[1] == "/" {
			continue // /init takes it away.
		}
		for _, prefix := range []string{"/dev/", "UUID=", "LABEL=", "PARTUUID=", "PARTLABEL="} {
			if strings.HasPrefix(fields[0], prefix) {
				disks = append(disks, "/etc/fstab: "+strings.Join(fields[:2], " "))
			}
		}
	}
	c.add(Finding{Name: "fstab", Severity: Warning, Problem: "fstab names disks: a node without such a disk waits for it and ends in emergency mode",
		Remedy: "remove these lines, or add nofail to their options"}, disks...)
}

func hasOption(options string, names ...string) bool {
	return slices.ContainsFunc(strings.Split(options, ","), func(o string) bool { return slices.Contains(names, o) })
}

func (c *check) resolver() {
	info, err := c.tree.Lstat("/etc/resolv.conf")
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return
	}
	target, err := c.tree.Readlink("/etc/resolv.conf")
	if err != nil || strings.Contains(target, "/run/") || strings.HasPrefix(target, "run/") {
		return // A service of the node makes it.
	}
	if _, err := c.tree.Stat("/etc/resolv.conf"); err != nil {
		c.add(Finding{Name: "resolv.conf", Severity: Note, Problem: "/etc/resolv.conf is a link to " + plain(target) + ", which is not there",
			Remedy: "nothing where DHCP gives name servers: nodes get a file of their own in its place"}, "/etc/resolv.conf")
	}
}

// maxPlain is how many bytes of a text from the tree a problem has in it.
const maxPlain = 255

// plain is a text of the tree's as a terminal may have it.
func plain(s string) string {
	s = s[:min(len(s), maxPlain)]
	if quoted := strconv.Quote(s); quoted != `"`+s+`"` {
		return quoted
	}
	return s
}

// list are the names in a directory of the tree.
func (c *check) list(dir string) []string {
	entries, err := c.tree.ReadDir(dir)
	if err != nil {
		return nil
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names
}

// glob are the paths in a directory of the tree that fit a pattern.
func (c *check) glob(pattern string) []string {
	var found []string
	dir := filepath.Dir(pattern)
	for _, name := range c.list(dir) {
		if ok, err := filepath.Match(filepath.Base(pattern), name); ok && err == nil {
			found = append(found, filepath.Join(dir, name))
		}
	}
	return found
}

// exports looks at how the tree is exported.
func (c *check) exports(table string) error {
	if table == "" {
		return nil
	}
	b, err := os.ReadFile(table)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var squashed, writable []string
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || c.dir != fields[0] && !strings.HasPrefix(c.dir, strings.TrimSuffix(fields[0], "/")+"/") {
			continue
		}
		for _, client := range fields[1:] {
			host, options, _ := strings.Cut(strings.TrimSuffix(client, ")"), "(")
			if hasOption(options, "root_squash", "all_squash") {
				squashed = append(squashed, fields[0]+" for "+host)
			}
			if hasOption(options, "rw") {
				writable = append(writable, fields[0]+" for "+host)
			}
		}
	}
	c.add(Finding{Name: "root-squash", Severity: Warning, Problem: "root on a node is the user nobody on the server: files that only root may read cannot be read, and services and sudo fail",
		Remedy: "export with no_root_squash (and ro), then exportfs -ra"}, squashed...)
	c.add(Finding{Name: "writable-export", Severity: Warning, Problem: "nodes may write to the export: one node can spoil the tree for all",
		Remedy: "export with ro, then exportfs -ra"}, writable...)
	return nil
}

// walk looks at every file.
func (c *check) walk(ctx context.Context) error {
	var whiteouts, auwhiteouts, capabilities, sockets, devices, files, dirs, mounts []string
	var top unix.Stat_t
	if err := unix.Stat(c.dir, &top); err != nil {
		return &fs.PathError{Op: "stat", Path: c.dir, Err: err}
	}
	err := filepath.WalkDir(c.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		name := "/" + strings.TrimPrefix(strings.TrimPrefix(path, c.dir), "/")
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return &fs.PathError{Op: "stat", Path: path, Err: err}
		}
		if st.Dev != top.Dev {
			mounts = append(mounts, name)
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if strings.HasPrefix(entry.Name(), ".wh.") {
			auwhiteouts = append(auwhiteouts, name)
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFCHR:
			if st.Rdev == 0 {
				whiteouts = append(whiteouts, name)
				return nil
			}
			fallthrough
		case unix.S_IFBLK:
			if !strings.HasPrefix(name, "/dev/") {
				devices = append(devices, name)
			}
		case unix.S_IFSOCK:
			sockets = append(sockets, name)
		case unix.S_IFDIR:
			if st.Mode&unix.S_IWOTH != 0 && st.Mode&unix.S_ISVTX == 0 {
				dirs = append(dirs, name)
			}
		case unix.S_IFREG:
			if st.Mode&unix.S_IWOTH != 0 {
				files = append(files, name)
			}
			if n, err := unix.Lgetxattr(path, "security.capability", nil); err == nil && n > 0 {
				capabilities = append(capabilities, name)
			}
		}
		return nil
	})
	c.add(Finding{Name: "mounts", Severity: Warning, Problem: "other file systems are mounted inside the tree: nodes do not see what is in them",
		Remedy: "unmount what a chroot left (/proc, /sys, /dev), or put the content into the tree's own file system"}, mounts...)
	c.add(Finding{Name: "whiteouts", Severity: Warning, Problem: "character devices 0:0, which overlayfs takes for removed files: nodes do not see them, nor what has their name in the tree",
		Remedy: "remove them; the tree was copied out of an overlayfs layer"}, whiteouts...)
	c.add(Finding{Name: "aufs-whiteouts", Severity: Warning, Problem: "names that begin with .wh., which aufs takes for its own",
		Remedy: "remove them where nodes use aufs"}, auwhiteouts...)
	c.add(Finding{Name: "file-capabilities", Severity: Warning, Problem: "programs with file capabilities, which NFS does not carry: they fail for users other than root",
		Remedy: "make them setuid root (dpkg-statoverride), or allow what they need otherwise (ping: the sysctl net.ipv4.ping_group_range)"}, capabilities...)
	c.add(Finding{Name: "writable-files", Severity: Warning, Problem: "files that everybody may write: every user of a node can change what others run there", Remedy: "chmod o-w"}, files...)
	c.add(Finding{Name: "writable-directories", Severity: Warning, Problem: "directories that everybody may write, without the sticky bit", Remedy: "chmod o-w, or +t"}, dirs...)
	c.add(Finding{Name: "sockets", Severity: Note, Problem: "sockets of programs that ran in the tree", Remedy: "remove them"}, sockets...)
	c.add(Finding{Name: "devices", Severity: Note, Problem: "device nodes outside of /dev", Remedy: "remove them unless a chroot in the tree needs them: nodes mount the tree with nodev"}, devices...)
	return err
}
