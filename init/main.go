// Command init is the first program of a diskless node. It brings the network
// up, mounts the shared tree by NFS, puts the node's own layer over it and
// hands over to the tree's init. initrdgen packs it as /init.
//
// It reads the kernel command line, /etc/sidusboot.conf in the image and the
// DHCP lease; docs/parameters.md lists the parameters. It leaves the layers at /ro
// and /rw and its report in /run/sidusboot.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/bootlog"
	"github.com/sidusboot/sidusboot/panics"
)

// version is set by the Makefile.
var version = "unknown"

func main() {
	switch name := filepath.Base(os.Args[0]); {
	case name == keeperName, name == guardName:
		exit(reside(name, len(os.Args) == 2 && os.Args[1] == firstGuard))
	case name == stepName:
		exit(runStep(os.Args[1:]))
	case name == shutdownName && os.Getpid() == 1:
		shutdown(os.Args[1:])
	}
	if err := guard(); err != nil {
		fmt.Fprintln(os.Stderr, "sidusboot:", err)
		os.Exit(2)
	}
	shrugOff(unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGPIPE)
	log := &bootlog.Logger{}
	n := newNode(log)
	defer n.recovered()
	n.boot()
}

// shrugOff takes signals and does nothing: their default action would end PID 1,
// and with it the kernel. They are not ignored, because that would be handed
// down to the real init and to every shell.
func shrugOff(signals ...os.Signal) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, signals...)
	go func() {
		defer panics.Ignore()
		for range c {
		}
	}()
}

// sleepForever does what select{} cannot: a Go program in which everything
// sleeps ends with a "deadlock", and so would the kernel.
func sleepForever() {
	for {
		time.Sleep(time.Hour)
	}
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// recovered turns a panic, which in PID 1 takes the kernel down, into a
// message and a reboot.
func (n *node) recovered() {
	if p := recover(); p != nil {
		n.log.Errorf("BUG in sidusboot, please report it: %v", p)
		n.log.Stack(debug.Stack())
		n.restart(n.panicDelay())
	}
}
