package treecheck

import (
	"io/fs"
	"strings"

	"github.com/sidusboot/sidusboot/tree"
)

func (c *check) init() {
	inits := tree.InitPrograms()
	for _, name := range inits {
		if c.tree.Executable(name) == nil {
			if name == "/bin/sh" {
				c.add(Finding{Name: "init", Severity: Warning, Problem: "the tree has a shell, but no init",
					Remedy: "install systemd-sysv or sysvinit-core in it, or set a program with init="}, name)
			}
			return
		}
	}
	c.add(Finding{Name: "init", Severity: Fatal, Problem: "the tree has no program to start: " + strings.Join(inits, ", ") + " are missing, dead links, or not executable files",
		Remedy: "install systemd-sysv in it"}, inits[0])
}

// kernels compares what is in /boot with the modules.
func (c *check) kernels() {
	modules := make(map[string]fs.FileInfo)
	var unlisted []string
	for _, name := range c.list("/lib/modules") {
		dir := "/lib/modules/" + name
		if info, err := c.tree.Stat(dir + "/modules.dep"); err == nil {
			modules[name] = info
		} else if c.tree.IsDir(dir + "/kernel") {
			unlisted = append(unlisted, dir)
		}
	}
	c.add(Finding{Name: "modules-dep", Severity: Warning, Problem: "kernel modules without modules.dep: no program finds them",
		Remedy: "run depmod RELEASE in a chroot"}, unlisted...)
	if len(modules) == 0 {
		c.add(Finding{Name: "modules", Severity: Fatal, Problem: "the tree has no kernel modules", Remedy: "install a kernel in it, linux-image-amd64 or linux-image-arm64"}, "/lib/modules")
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
		Remedy: "build them again with initrdgen build"}, old...)
	if kernels == 0 && len(modules) > 0 {
		c.add(Finding{Name: "no-kernel", Severity: Note, Problem: "the tree has modules, but no kernel in /boot", Remedy: "nothing, if the boot server has the kernel"}, "/boot")
	}
}

// packages finds those whose installation did not end.
func (c *check) packages() {
	b, err := c.tree.ReadFile("/var/lib/dpkg/status")
	if err != nil {
		return
	}
	var broken []string
	name := ""
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\n"), ": ")
		switch key {
		case "Package":
			name = value
		case "Status":
			// Want, an error flag, and the state (dpkg-query(1)).
			fields := strings.Fields(value)
			if len(fields) == 3 && (fields[1] != "ok" || fields[2] != "installed" && fields[2] != "config-files" && fields[2] != "not-installed") {
				broken = append(broken, "dpkg: "+name+" "+fields[2])
			}
		}
	}
	c.add(Finding{Name: "packages", Severity: Warning, Problem: "packages that are not installed completely",
		Remedy: "run dpkg --configure -a, then apt-get install -f, in a chroot"}, broken...)
}
