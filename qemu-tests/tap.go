package qemutests

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
)

// A NIC is one network card of a guest.
type NIC struct {
	// Model is QEMU's name of the card: virtio-net-pci (the default), e1000,
	// e1000e, rtl8139, vmxnet3, …
	Model string
	// MAC is the address. Empty: the lab takes the next free one of
	// 52:54:00:77:00:xx.
	MAC string
	// LinkDown starts the guest with the cable pulled; see Guest.SetLink.
	LinkDown bool
	// Detached leaves the card's other end off the bridge: a cable into
	// nowhere, with a carrier.
	Detached bool
	// MTU is that of the card's other end. Default 1500.
	MTU int
	// Cable names a cable between two guests of the lab, and End is 0 or 1; the
	// lab's bridge is not in it. It has a carrier also when no guest is at its
	// other end.
	Cable string
	End   int

	tap string
}

// backend is what QEMU connects the card to.
func (n NIC) backend(id string) string {
	if n.Cable == "" {
		return fmt.Sprintf("tap,id=%s,ifname=%s,script=no,downscript=no", id, n.tap)
	}
	return fmt.Sprintf("dgram,id=%s,local.type=unix,local.path=%s,remote.type=unix,remote.path=%s", id, n.socket(n.End), n.socket(1-n.End))
}

// socket is where an end of the Cable is.
func (n NIC) socket(end int) string { return fmt.Sprintf("%s/cable-%s.%d", labDir, n.Cable, end) }

// Traffic counts what went through a guest's card, as the guest sees it.
type Traffic struct {
	SentBytes, SentPackets         int64
	ReceivedBytes, ReceivedPackets int64
}

// plug makes the tap device of a card and gives it its defaults.
func (l *Lab) plug(ctx context.Context, nic NIC) (NIC, error) {
	l.mu.Lock()
	l.taps++
	n := l.taps
	l.mu.Unlock()
	if nic.Model == "" {
		nic.Model = "virtio-net-pci"
	}
	if nic.MAC == "" {
		nic.MAC = MAC(n)
	}
	if nic.MTU == 0 {
		nic.MTU = 1500
	}
	if nic.Cable != "" {
		// The socket of a guest that was at this end before.
		if err := os.Remove(l.Path(nic.socket(nic.End))); err != nil && !errors.Is(err, os.ErrNotExist) {
			return NIC{}, err
		}
		return nic, nil
	}
	nic.tap = fmt.Sprintf("tap%d", n)
	script := `ip tuntap add "$1" mode tap; [ -z "$2" ] || ip link set "$1" master "$2"; ip link set "$1" mtu "$3" up`
	master := bridge
	if nic.Detached {
		master = ""
	}
	if _, err := l.Output(ctx, "sh", "-ec", script, "plug", nic.tap, master, fmt.Sprint(nic.MTU)); err != nil {
		return NIC{}, fmt.Errorf("tap device %s: %w", nic.tap, err)
	}
	return nic, nil
}

// MAC is the address that the lab gives to the n-th card plugged into it,
// counted from 1.
func MAC(n int) string { return fmt.Sprintf("52:54:00:77:00:%02x", n) }

// Traffic reads the counters of the guest's card, counted from 0. They end
// with the lab, not with the guest.
func (g *Guest) Traffic(card int) (Traffic, error) {
	tap := g.opts.NICs[card].tap
	var t Traffic
	// What the tap receives, the guest has sent.
	for name, value := range map[string]*int64{
		"rx_bytes": &t.SentBytes, "rx_packets": &t.SentPackets,
		"tx_bytes": &t.ReceivedBytes, "tx_packets": &t.ReceivedPackets,
	} {
		file := path.Join("/sys/class/net", tap, "statistics", name)
		b, err := os.ReadFile(g.lab.Path(file))
		if err != nil {
			return Traffic{}, fmt.Errorf("%s: %w", tap, err)
		}
		if *value, err = strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err != nil {
			return Traffic{}, fmt.Errorf("%s: %w", file, err)
		}
	}
	return t, nil
}
