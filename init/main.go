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

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/bootlog"
	"github.com/sidusboot/sidusboot/panics"
	"github.com/sidusboot/sidusboot/resident"
	"github.com/sidusboot/sidusboot/sidusnode"
)

// version is set by the Makefile.
var version = "unknown"

func main() {
	switch name := filepath.Base(os.Args[0]); {
	case name == resident.KeeperName, name == resident.GuardName:
		discardSignals(unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGPIPE)
		os.Exit(resident.Run(name, os.Args[1:], func() (resident.Log, error) { return openLog(resident.LogName) }))
	case name == sidusnode.Name:
		os.Exit(sidusnode.Main(os.Args[1:], version))
	case name == resident.StepName:
		exit(resident.RunStep(os.Args[1:]))
	case name == resident.ShutdownName && os.Getpid() == 1:
		log, _ := openLog("") // Without /dev/kmsg, to standard error.
		resident.Shutdown(os.Args[1:], log)
	}
	if err := guard(); err != nil {
		fmt.Fprintln(os.Stderr, "sidusboot:", err)
		os.Exit(2)
	}
	discardSignals(unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGPIPE)
	log := &bootlog.Logger{}
	n := newNode(log)
	defer n.recovered()
	n.boot()
}

// openLog opens the kernel's log for what stays after the boot.
func openLog(name string) (resident.Log, error) {
	log := &bootlog.Logger{Name: name}
	var err error
	log.Kmsg, err = os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	return log, err
}

// discardSignals receives signals and does nothing: their default action would end
// PID 1, and with it the kernel. They are not ignored, because the real init and each
// shell would inherit that.
func discardSignals(signals ...os.Signal) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, signals...)
	go func() {
		defer panics.Ignore()
		for range c {
		}
	}()
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// background runs f in a goroutine.
func (n *node) background(f func()) {
	go func() {
		defer n.recovered()
		f()
	}()
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
