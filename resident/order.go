package resident

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/panics"
)

// A node that is to end while its target is gone would wait for the dead disk
// for as long as the kernel has been told to wait, a day: whatever writes to
// the disk, or waits for who does, cannot be ended. So the keeper has to know
// that the end was ordered. systemd itself tells it, and runs nothing for that,
// because a program that it would have to read may lie on a dead server too:
// for each verb a FIFO lies in orderDir for as long as systemd does not work
// on the verb's target.
//
// Another init tells nothing, and then the keeper goes on trying.

const (
	// orderDir is below residentDir.
	orderDir = "order"
	unitDir  = "/run/systemd/system"
)

// orderSocket is a systemd unit (systemd.socket(5)). Conflicts= makes systemd
// stop it at once when the verb's target is started, and by the way keeps that
// target loaded. Nothing is ever to come through the FIFO.
const orderSocket = `# Written by sidusboot at boot: tells the keeper of the iSCSI session that VERB
# was ordered, so that it does not wait for a target that is gone.
[Unit]
Description=The order VERB, for sidusboot's keeper
DefaultDependencies=no
RefuseManualStop=yes
IgnoreOnIsolate=yes
Conflicts=VERB.target
Before=VERB.target

[Socket]
ListenFIFO=` + residentDir + "/" + orderDir + `/VERB
SocketMode=0600
RemoveOnStop=yes
Service=sidusboot-order.service
`

// orderService exists because each socket has to have one.
const orderService = `[Unit]
Description=Does nothing: the service that the sockets of sidusboot need
DefaultDependencies=no

[Service]
Type=oneshot
ExecStart=/bin/true
`

// writeOrderUnits writes the units by which systemd tells its orders. root is where
// /run is.
func writeOrderUnits(root string) error {
	dir := filepath.Join(root, unitDir)
	wants := filepath.Join(dir, "sysinit.target.wants")
	if err := os.MkdirAll(wants, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "sidusboot-order.service"), []byte(orderService), 0o644); err != nil {
		return err
	}
	for verb := range verbs {
		name := orderUnit(verb)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(orderSocket, "VERB", verb)), 0o644); err != nil {
			return err
		}
		if err := os.Symlink("../"+name, filepath.Join(wants, name)); err != nil {
			return err
		}
	}
	return nil
}

// orderUnit is the socket unit of a verb.
func orderUnit(verb string) string { return "sidusboot-" + verb + ".socket" }

// An order is a verb that systemd works on; an empty one takes it back.
type order string

// watchOrders tells the orders that are given in dir, and the error that ends it.
func watchOrders(dir string) (<-chan order, <-chan error, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return nil, nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_CREATE|unix.IN_DELETE); err != nil {
		unix.Close(fd)
		return nil, nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	orders := make(chan order, len(verbs))
	return orders, panics.Go(func() error {
		defer unix.Close(fd)
		buffer := make([]byte, 4096)
		for {
			n, err := unix.Read(fd, buffer)
			if err != nil {
				if err == unix.EINTR {
					continue
				}
				return fmt.Errorf("watch %s: %w", dir, err)
			}
			for _, o := range parseOrders(buffer[:n]) {
				orders <- o
			}
		}
	}), nil
}

// parseOrders reads events of inotify(7).
func parseOrders(b []byte) (orders []order) {
	for len(b) >= unix.SizeofInotifyEvent {
		mask, size := binary.NativeEndian.Uint32(b[4:]), int(binary.NativeEndian.Uint32(b[12:]))
		b = b[unix.SizeofInotifyEvent:]
		size = min(size, len(b))
		name, _, _ := bytes.Cut(b[:size], []byte{0})
		b = b[size:]
		if _, known := verbs[string(name)]; !known {
			continue
		}
		switch {
		case mask&unix.IN_DELETE != 0:
			orders = append(orders, order(name))
		case mask&unix.IN_CREATE != 0:
			orders = append(orders, "")
		}
	}
	return orders
}
