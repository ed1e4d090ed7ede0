// Command demo shows a node boot: it makes a Debian tree and an initrd, starts a
// DHCP and an NFS server in a network of their own, and boots one diskless
// node from them. On a terminal the node's console is yours, up to its login
// prompt (root, no password) and beyond; without one it prints what the node
// did and ends when the system is up.
//
//	make demo
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	qemutests "github.com/sidusboot/sidusboot/qemu-tests"
)

func main() { qemutests.RunCommand("demo", run) }

func run(ctx context.Context) error {
	suite := flag.String("suite", "bookworm", "Debian `suite` of the tree")
	profile := flag.String("profile", "virtual", "`profile` of the image")
	flag.Parse()
	if os.Geteuid() != 0 {
		return errors.New("network namespaces, mmdebstrap and NFS need root: sudo make demo")
	}
	interactive := isTerminal(os.Stdin) && isTerminal(os.Stdout)
	start := time.Now()
	say := func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "demo: [%5.1f s] %s\n", time.Since(start).Seconds(), fmt.Sprintf(format, args...))
	}

	say("a Debian tree (%s; made once, about a minute)", *suite)
	tree, err := qemutests.Tree(ctx, *suite)
	if err != nil {
		return err
	}
	kernel, release, err := qemutests.Kernel(tree)
	if err != nil {
		return err
	}
	say("initrdgen build --root %s --profile %s", tree, *profile)
	image, err := qemutests.BuildImage(ctx, tree, "--profile="+*profile)
	if err != nil {
		return err
	}
	if info, err := os.Stat(image); err == nil {
		say("%s: %.1f MB for kernel %s", image, float64(info.Size())/1e6, release)
	}
	say("a network with dnsmasq and nfs-ganesha")
	lab, err := qemutests.Open(ctx, qemutests.LabOptions{})
	if err != nil {
		return err
	}
	defer lab.Close()
	if err := lab.StartServers(ctx, qemutests.Export{Path: tree}, qemutests.ServerAddr+":"+tree); err != nil {
		return err
	}
	options := qemutests.GuestOptions{
		Name: qemutests.NodeName, Kernel: kernel, Initrd: image,
		Cmdline: qemutests.EventParam + " " + qemutests.AgentParam,
	}
	if interactive {
		options.Live = os.Stdout
	}
	say("power on (emulated: several times slower than a machine)")
	node, err := lab.Boot(ctx, options)
	if err != nil {
		return err
	}
	if interactive {
		return console(ctx, node)
	}
	return report(ctx, node, say)
}

// console gives the terminal to the node until the node is switched off.
func console(ctx context.Context, node *qemutests.Guest) error {
	fmt.Print("The node's console: log in as root, no password. Ctrl-] or poweroff ends it.\r\n")
	restore, err := raw(os.Stdin)
	if err != nil {
		return err
	}
	defer restore()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		forward(node.Input(), os.Stdin)
	}()
	_, err = node.Wait(ctx)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// escape is Ctrl-], as in telnet and virsh.
const escape = 0x1d

func forward(node io.Writer, keys io.Reader) {
	b := make([]byte, 256)
	for {
		n, err := keys.Read(b)
		if err != nil || strings.IndexByte(string(b[:n]), escape) >= 0 {
			return
		}
		if _, err := node.Write(b[:n]); err != nil {
			return
		}
	}
}

// report prints the node's stages as they end, waits until systemd says that
// the system is up, and prints what the node looks like.
func report(ctx context.Context, node *qemutests.Guest, say func(string, ...any)) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	for _, stage := range []string{"config", "modules", "network", "nfs", "rw", "union", "identity"} {
		e, err := node.WaitStage(ctx, stage, "done")
		if err != nil {
			return err
		}
		fmt.Printf("%8.3f s  %-9s %6.3f s  %s\n", e.Uptime.Seconds(), e.Stage, e.Took.Seconds(), e.Text)
	}
	if _, err := node.WaitStage(ctx, "handover", "begin"); err != nil {
		return err
	}
	say("the real init runs; waiting for systemd")
	state, _, err := node.Run(ctx, "systemctl is-system-running --wait")
	if err != nil {
		return err
	}
	out, err := node.Must(ctx, `echo "up since $(cut -d' ' -f1 /proc/uptime) s, as $(hostname), $(. /etc/os-release; echo "$PRETTY_NAME")"
for m in / /ro /rw; do findmnt -n -o TARGET,FSTYPE,SOURCE,SIZE -M $m; done
systemctl --failed --no-legend`)
	if err != nil {
		return err
	}
	fmt.Print(out)
	if s := strings.TrimSpace(state); s != "running" {
		return fmt.Errorf("systemd says %q, want running", s)
	}
	say("systemd says: running")
	return nil
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// raw makes every key go to the node, Ctrl-C too.
func raw(f *os.File) (restore func(), err error) {
	fd := int(f.Fd())
	old, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, err
	}
	t := *old
	t.Iflag &^= unix.BRKINT | unix.ICRNL | unix.INPCK | unix.ISTRIP | unix.IXON
	t.Lflag &^= unix.ECHO | unix.ICANON | unix.IEXTEN | unix.ISIG
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &t); err != nil {
		return nil, err
	}
	return func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, old) }, nil
}
