package wire

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"slices"
)

// A Kind is what packets of one kind are in a capture.
type Kind struct {
	Name           string
	Packets, Bytes int
}

// Kinds counts the packets of a capture by what they are for. A call or a reply
// counts as one packet with the segment in which it ends; the segments before it
// are counted as the rest of long messages.
func Kinds(capture io.Reader) ([]Kind, error) {
	k := &kinds{found: map[string]*Kind{}, streams: map[[2]netip.AddrPort]*stream{}, calls: map[xidOf]string{}}
	err := readPcap(capture, func(p packet) error {
		name, err := k.name(p)
		if err != nil {
			return err
		}
		if k.found[name] == nil {
			k.found[name] = &Kind{Name: name}
		}
		k.found[name].Packets++
		k.found[name].Bytes += p.length
		return nil
	})
	var all []Kind
	for _, kind := range k.found {
		all = append(all, *kind)
	}
	slices.SortFunc(all, func(a, b Kind) int {
		return cmp.Or(b.Packets-a.Packets, cmp.Compare(a.Name, b.Name))
	})
	return all, err
}

type kinds struct {
	found   map[string]*Kind
	streams map[[2]netip.AddrPort]*stream
	// calls are the names of calls, by client and XID.
	calls map[xidOf]string
}

// Ports that are told apart.
const (
	portDNS, portDHCP, portPortmap, portISCSI = 53, 67, 111, 3260
)

func (k *kinds) name(p packet) (string, error) {
	switch etherType(p.data) {
	case etherARP:
		return "ARP", nil
	case etherIPv6:
		return "IPv6", nil
	}
	seg, ok := parseSegment(p.data)
	if !ok {
		return "other", nil
	}
	port := min(seg.from.Port(), seg.to.Port())
	switch {
	case port == portDNS:
		return "DNS", nil
	case port == portDHCP:
		return "DHCP", nil
	case seg.udp && port != portPortmap:
		return fmt.Sprintf("UDP port %d", port), nil
	case seg.udp:
		return k.message(seg, seg.payload), nil
	case port == portISCSI:
		return "iSCSI", nil
	case seg.syn:
		delete(k.streams, [2]netip.AddrPort{seg.from, seg.to}) // A port that is used again.
		return "TCP: begin of a connection", nil
	case seg.fin:
		return "TCP: end of a connection", nil
	case len(seg.payload) == 0:
		return "TCP: acknowledgement only", nil
	}
	key := [2]netip.AddrPort{seg.from, seg.to}
	name := "part of a long message"
	s := k.streams[key]
	if s == nil {
		s = &stream{started: true, next: seg.seq, early: map[uint32][]byte{}}
		k.streams[key] = s
	}
	err := s.add(seg, func(m []byte) error {
		name = k.message(seg, m)
		return nil
	})
	return name, err
}

// message names a message of RPC; a reply is named as its call.
func (k *kinds) message(seg segment, m []byte) string {
	if len(m) < 8 {
		return "other"
	}
	xid := binary.BigEndian.Uint32(m)
	if binary.BigEndian.Uint32(m[4:]) == messageReply {
		return cmp.Or(k.calls[xidOf{seg.to, xid}], "reply without a call")
	}
	if len(m) < 24 {
		return "other"
	}
	program, version, procedure := binary.BigEndian.Uint32(m[12:]), binary.BigEndian.Uint32(m[16:]), binary.BigEndian.Uint32(m[20:])
	name := fmt.Sprintf("program %d version %d procedure %d", program, version, procedure)
	switch {
	case program == programNFS && version == 3:
		name = "NFS " + ProcedureName(procedure)
	case program == programNFS:
		name = fmt.Sprintf("NFS version %d procedure %d", version, procedure)
	case program == programPortmap:
		name = "portmapper"
	case program == programMount:
		name = "MOUNT " + mountName(procedure)
	}
	k.calls[xidOf{seg.from, xid}] = name
	return name
}

// mountName is a procedure of MOUNT version 3 (RFC 1813, appendix I).
func mountName(procedure uint32) string {
	names := []string{"NULL", "MNT", "DUMP", "UMNT", "UMNTALL", "EXPORT"}
	if int(procedure) < len(names) {
		return names[procedure]
	}
	return fmt.Sprint("procedure ", procedure)
}
