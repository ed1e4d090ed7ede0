// Command init is the first program of a diskless node. It brings the network
// up, mounts the shared tree by NFS, puts the node's own layer over it and
// hands over to the tree's init. initrdgen packs it as /init.
//
// It reads the kernel command line, /etc/sidusboot.conf in the image and the
// DHCP lease; docs/parameters.md lists the words. It leaves the layers at /ro
// and /rw and its report in /run/sidusboot.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// version is set by the Makefile.
var version = "unknown"

func main() {
	if err := guard(); err != nil {
		fmt.Fprintln(os.Stderr, "sidusboot:", err)
		os.Exit(2)
	}
	// The default action of these would end PID 1, and with it the kernel.
	signal.Ignore(unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGPIPE)
	log := &logger{}
	n := newNode(log)
	defer n.recovered()
	n.boot()
}

// recovered turns a panic, which in PID 1 takes the kernel down, into a
// message and a reboot.
func (n *node) recovered() {
	if p := recover(); p != nil {
		n.log.errorf("BUG in sidusboot, please report it: %v", p)
		for _, line := range splitLines(string(debug.Stack())) {
			n.log.errorf("%s", line)
		}
		n.restart(n.panicDelay())
	}
}
