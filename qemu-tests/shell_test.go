//go:build qemu

package qemutests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// A keyboard types at the shell on a node's console, one line a prompt.
type keyboard struct {
	s      *site
	g      *Guest
	offset int
}

// types waits for the prompt, types a line and waits for what that prints. The
// console echoes the line itself, so that the two must differ.
func (k *keyboard) types(line, prints string) {
	k.s.t.Helper()
	prompt, err := k.g.ExpectAfter(k.s.ctx, k.offset, `sidusboot# `)
	if err != nil {
		k.s.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(k.g.Input(), "%s\n", line); err != nil {
		k.s.t.Fatal(err)
	}
	answer, err := k.g.ExpectAfter(k.s.ctx, prompt.End, regexp.QuoteMeta(prints))
	if err != nil {
		k.s.t.Fatal(err)
	}
	k.offset = answer.End
}

// TestShellOfTree mounts with noacl, with which no user but root can open
// anything in the union: the self-test says so, and the operator gets a shell
// of the tree, and another attempt when it ends.
func TestShellOfTree(t *testing.T) {
	t.Parallel()
	s := newSite(t, "bookworm")
	s.nfs(Export{}, NFSOptions{})
	s.dhcp(DHCPOptions{})
	const says = "union: overlay: the overlay at /aufs cannot be used: users other than root cannot open " + AgentInit
	g := s.boot(s.root("vers=3,noacl ")+probeParams+" sidus.onerror=shell", GuestOptions{})
	// A union that cannot be used is not left mounted.
	s.says(g, says, "remove noacl from the NFS options, or use version 4", "a shell (/bin/sh in /ro)", "exit tries again")
	k := &keyboard{s: s, g: g}
	k.types(`echo "is $((6*7))"`, "is 42")
	k.types("cat /etc/debian_version", "12.")
	k.types("grep -c failures /run/sidusboot/boot.json", "\n1\r")
	k.types("ls /dev/null /proc/self/root/etc/fstab && echo all''there", "allthere")
	// Or the kernel drops what /init says beyond ten lines in five seconds.
	k.types("cat /proc/sys/kernel/printk_devkmsg", "\non\r")
	k.types("exit", says)
	k.types("true", "sidusboot# ") // The next shell.
	s.silent(g, "handing over")
}

// TestBreak stops a node before the switch: the shell is in the finished union,
// and its end goes on. The node has two cards, and BOOTIF= names the one with a
// cable into the lab.
func TestBreak(t *testing.T) {
	t.Parallel()
	s := newSite(t, "bookworm")
	s.nfs(Export{}, NFSOptions{})
	s.dhcp(DHCPOptions{})
	const bootif = "BOOTIF=01-52-54-00-77-00-01 "
	g := s.boot(s.root("vers=3 ")+bootif+probeParams+" rd.break", GuestOptions{NICs: []NIC{{MAC: MAC(9), Detached: true}, {MAC: MAC(1)}}})
	s.says(g, "rd.break: stopping before the real init", "a shell (/bin/sh in /aufs)", "exit continues the boot")
	k := &keyboard{s: s, g: g}
	k.types("touch /etc/by''hand && echo is''written", "iswritten")
	k.types("tail -n 1 /run/sidusboot/boot.log", "rd.break: stopping")
	// Handed down as ignored, signals would end nothing in shells and scripts.
	k.types("grep SigIgn /proc/self/status", "0000000000000000")
	k.types("exit", "handing over")
	s.same(g, []answer{
		{"ls /rw/upper/etc/byhand", "/rw/upper/etc/byhand"},
	})
	if r := s.report(g); r.Network.MAC != MAC(1) || r.Network.Device != "eth1" {
		t.Errorf("the boot card is %s (%s), want eth1 (%s)", r.Network.Device, r.Network.MAC, MAC(1))
	}
}

// rescueProgram is a program for --rescue. It tells its name, which busybox
// goes by, and adds up what is typed.
const rescueProgram = `package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Printf("rescue as %s, process %d\n", os.Args[0], os.Getpid())
	var a, b int
	fmt.Scan(&a, &b)
	fmt.Println("sum", a+b)
}
`

// TestRescue fails before a tree is mounted: the operator gets the program that
// was packed for that.
func TestRescue(t *testing.T) {
	t.Parallel()
	s := newSite(t, "bookworm")
	source := s.file("main.go", rescueProgram)
	rescue := filepath.Join(filepath.Dir(source), "rescue")
	cmd := exec.CommandContext(s.ctx, "go", "build", "-trimpath", "-o", rescue, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.image = s.build("--rescue=" + rescue)
	s.nfs(Export{}, NFSOptions{})
	s.dhcp(DHCPOptions{})
	g := s.boot("nfsroot="+ServerAddr+":/not/there,vers=3 "+probeParams+" sidus.onerror=shell", GuestOptions{})
	const says = "the server does not export this path to " + NodeAddr
	s.says(g, says, "a shell (/rescue in /)")
	if _, err := g.Expect(s.ctx, `rescue as sh, process [0-9]+`); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintln(g.Input(), "19 23"); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Expect(s.ctx, "sum 42"); err != nil {
		t.Fatal(err)
	}
	s.says(g, says, "a shell (/rescue in /)", says, "a shell (/rescue in /)")
}

// TestNoShell asks for a shell where there is none: no tree is mounted, and
// none was packed.
func TestNoShell(t *testing.T) {
	t.Parallel()
	s := newSite(t, "bookworm")
	g := s.boot(s.root("vers=3 ")+probeParams+" sidus.union=aufz sidus.onerror=shell", GuestOptions{})
	s.says(g, "there is no shell: ", "(initrdgen build --rescue FILE)")
}
