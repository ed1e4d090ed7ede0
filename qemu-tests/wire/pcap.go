package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"
)

// A packet is what a capture has of one packet.
type packet struct {
	at time.Duration // since the capture's first packet
	// length is that of the frame, also where less of it was captured. On a bridge
	// it may be longer than the wire allows: the kernel cuts such frames up later.
	length int
	data   []byte
}

// maxFrame is more than any frame has that the kernel hands to a capture.
const maxFrame = 256 << 10

// errPcap is a file that is no capture of Ethernet as tcpdump writes it.
var errPcap = errors.New("no pcap file of Ethernet")

// readPcap calls each with every packet of a capture (pcap-savefile(5)).
func readPcap(r io.Reader, each func(packet) error) error {
	in := bufio.NewReaderSize(r, 1<<20)
	var header [24]byte
	if _, err := io.ReadFull(in, header[:]); err != nil {
		return fmt.Errorf("%w: %w", errPcap, err)
	}
	order := binary.LittleEndian
	const microseconds, ethernet = 0xa1b2c3d4, 1
	if order.Uint32(header[:]) != microseconds || order.Uint32(header[20:]) != ethernet {
		return errPcap
	}
	var first time.Duration
	for n := 0; ; n++ {
		var record [16]byte
		if _, err := io.ReadFull(in, record[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("packet %d: %w", n, err)
		}
		captured, length := order.Uint32(record[8:]), order.Uint32(record[12:])
		if captured > maxFrame || length > maxFrame {
			return fmt.Errorf("%w: packet %d has %d bytes", errPcap, n, length)
		}
		at := time.Duration(order.Uint32(record[:]))*time.Second + time.Duration(order.Uint32(record[4:]))*time.Microsecond
		if n == 0 {
			first = at
		}
		p := packet{at: at - first, length: int(length), data: make([]byte, captured)}
		if _, err := io.ReadFull(in, p.data); err != nil {
			return fmt.Errorf("packet %d: %w", n, err)
		}
		if err := each(p); err != nil {
			return fmt.Errorf("packet %d: %w", n, err)
		}
	}
}

// A segment is a packet of TCP or UDP over IPv4.
type segment struct {
	from, to netip.AddrPort
	udp      bool
	seq      uint32
	syn, fin bool
	payload  []byte
}

// EtherTypes and protocols that are told apart.
const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherIPv6 = 0x86dd

	protocolTCP = 6
	protocolUDP = 17
)

// parseSegment reads the headers of a frame; ok is false for what is neither TCP
// nor UDP over IPv4, or is cut off.
func parseSegment(frame []byte) (s segment, ok bool) {
	if etherType(frame) != etherIPv4 || len(frame) < 14+20 {
		return segment{}, false
	}
	ip := frame[14:]
	size := int(ip[0]&0x0f) * 4
	total := int(binary.BigEndian.Uint16(ip[2:]))
	if size < 20 || total < size || total > len(ip) || binary.BigEndian.Uint16(ip[6:])&0x1fff != 0 {
		return segment{}, false
	}
	body := ip[size:total]
	from, to := netip.AddrFrom4([4]byte(ip[12:16])), netip.AddrFrom4([4]byte(ip[16:20]))
	switch ip[9] {
	case protocolUDP:
		if len(body) < 8 {
			return segment{}, false
		}
		s = segment{udp: true, payload: body[8:]}
	case protocolTCP:
		if len(body) < 20 || len(body) < int(body[12]>>4)*4 {
			return segment{}, false
		}
		s = segment{seq: binary.BigEndian.Uint32(body[4:]), fin: body[13]&1 != 0, syn: body[13]&2 != 0, payload: body[int(body[12]>>4)*4:]}
	default:
		return segment{}, false
	}
	s.from = netip.AddrPortFrom(from, binary.BigEndian.Uint16(body))
	s.to = netip.AddrPortFrom(to, binary.BigEndian.Uint16(body[2:]))
	return s, true
}

// etherType is a frame's, 0 where there is none.
func etherType(frame []byte) int {
	if len(frame) < 14 {
		return 0
	}
	return int(binary.BigEndian.Uint16(frame[12:]))
}
