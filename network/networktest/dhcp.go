package networktest

import (
	"net"
	"os"
	"sync"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/sys/unix"
)

// A FakeDHCP is a DHCP server that does what a test wants, for what no real one
// can be made to do.
type FakeDHCP struct {
	conn net.PacketConn

	mu   sync.Mutex
	seen []*dhcpv4.DHCPv4
}

// FakeDHCP starts one on a device of the host. It answers each message with
// those that answer returns, as broadcasts.
func (h *Host) FakeDHCP(device string, answer func(n int, m *dhcpv4.DHCPv4) [][]byte) *FakeDHCP {
	h.t.Helper()
	var f *FakeDHCP
	err := h.Do(func() (err error) {
		f, err = ServeDHCP(device, answer)
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(f.Close)
	return f
}

// ServeDHCP starts one on a device of the calling thread's network namespace.
func ServeDHCP(device string, answer func(n int, m *dhcpv4.DHCPv4) [][]byte) (*FakeDHCP, error) {
	conn, err := listenDHCP(device)
	if err != nil {
		return nil, err
	}
	f := &FakeDHCP{conn: conn}
	go f.serve(answer)
	return f, nil
}

// Close ends the server.
func (f *FakeDHCP) Close() { f.conn.Close() }

func listenDHCP(device string) (net.PacketConn, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "dhcp")
	defer f.Close()
	for _, option := range []int{unix.SO_REUSEADDR, unix.SO_BROADCAST} {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, 1); err != nil {
			return nil, err
		}
	}
	if err := unix.BindToDevice(fd, device); err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: dhcpv4.ServerPort}); err != nil {
		return nil, err
	}
	return net.FilePacketConn(f)
}

func (f *FakeDHCP) serve(answer func(n int, m *dhcpv4.DHCPv4) [][]byte) {
	b := make([]byte, 1500)
	for {
		n, _, err := f.conn.ReadFrom(b)
		if err != nil {
			return
		}
		m, err := dhcpv4.FromBytes(b[:n])
		if err != nil {
			continue
		}
		f.mu.Lock()
		f.seen = append(f.seen, m)
		count := len(f.seen)
		f.mu.Unlock()
		for _, reply := range answer(count, m) {
			// A client that is closed by now is no error.
			_, _ = f.conn.WriteTo(reply, &net.UDPAddr{IP: net.IPv4bcast, Port: dhcpv4.ClientPort})
		}
	}
}

// Seen are the messages that have come so far.
func (f *FakeDHCP) Seen() []*dhcpv4.DHCPv4 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*dhcpv4.DHCPv4(nil), f.seen...)
}

// Kinds are the types of the messages that have come so far.
func (f *FakeDHCP) Kinds() []dhcpv4.MessageType {
	var kinds []dhcpv4.MessageType
	for _, m := range f.Seen() {
		kinds = append(kinds, m.MessageType())
	}
	return kinds
}

// Reply is a server's proper answer to a message: an OFFER to a DISCOVER, an
// ACK to a REQUEST, for an address of 10.77.0.0/24, changed by mods.
func Reply(m *dhcpv4.DHCPv4, addr string, mods ...dhcpv4.Modifier) []byte {
	kind := dhcpv4.MessageTypeOffer
	if m.MessageType() == dhcpv4.MessageTypeRequest {
		kind = dhcpv4.MessageTypeAck
	}
	reply, err := dhcpv4.NewReplyFromRequest(m, append([]dhcpv4.Modifier{
		dhcpv4.WithMessageType(kind),
		dhcpv4.WithYourIP(net.ParseIP(addr)),
		dhcpv4.WithNetmask(net.CIDRMask(24, 32)),
		dhcpv4.WithServerIP(net.ParseIP(ServerAddr)),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.ParseIP(ServerAddr))),
		dhcpv4.WithLeaseTime(3600),
	}, mods...)...)
	if err != nil {
		return nil
	}
	return reply.ToBytes()
}
