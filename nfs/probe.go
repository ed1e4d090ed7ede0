package nfs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/netip"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/panics"
)

// What the server is asked in user space, since a mount(2) that it does not
// answer cannot be ended.

const (
	// probeTimeout is what the probe for version 3 may take in all.
	probeTimeout = time.Second
	// lateAfter is when an answer is late: a firewall may drop the call. On a busy
	// machine it takes 0.5 s; the module for version 4 costs 2.6 s of instructions, and
	// was loaded for nothing when this was 0.15 s.
	lateAfter = 600 * time.Millisecond
)

// serves3 tells whether the server serves version 3: mountd's, and NFS's own.
// While a late answer is waited for, the module for version 4 is loaded. conn leads to
// NFS, and is nil where the transport is not TCP.
func (m *Mounter) serves3(ctx context.Context, src Source, conn Conn) bool {
	if src.transport() == "udp" {
		return true // There is no version 4 over UDP.
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var mountd netip.AddrPort
	answer := panics.Go(func() (err error) {
		mountd, err = m.probe3(ctx, src, conn)
		return err
	})
	late := time.After(lateAfter)
	for {
		select {
		case err := <-answer:
			if err == nil {
				m.mountd = mountd
			}
			return err == nil
		case <-late:
			// An error of it comes again where the module is used.
			panics.Go(func() error { return m.System.Load(Module("4")) })
		case <-ctx.Done():
			return false
		}
	}
}

// probe3 asks for version 3 as the kernel does before a mount: the portmapper for mountd, unless mountport= says where it is.
func (m *Mounter) probe3(ctx context.Context, src Source, conn Conn) (mountd netip.AddrPort, err error) {
	if mountd, err = m.findMountd(ctx, src); err != nil {
		return mountd, err
	}
	if _, err := m.call(ctx, src.mountNetwork(), mountd, call{programMount, 3, 0}, nil); err != nil || conn == nil {
		return mountd, err
	}
	_, err = onConn(ctx, conn, "tcp", call{programNFS, 3, 0}, nil)
	return mountd, err
}

// data is Source's, with what the server has said of mountd's port: then the kernel does
// not ask the portmapper, neither for mountd nor for NFS (fs/nfs/super.c,
// nfs_request_mount; fs/nfs/client.c, nfs_init_server_rpcclient).
func (m *Mounter) data(src Source, version string) string {
	if version == "3" && m.mountd.IsValid() && !src.has("mountport") {
		src.Options = append([]string{"mountport=" + strconv.Itoa(int(m.mountd.Port()))}, src.Options...)
	}
	return src.Data(version)
}

// answers tells whether the server answers NFS calls of a version.
func (m *Mounter) answers(ctx context.Context, src Source, version string) bool {
	port, err := src.Port()
	if err != nil || port == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return m.callNull(ctx, netip.AddrPortFrom(src.Addr, port), version) == nil
}

// callNull makes a call that asks for nothing (RFC 1813, section 3.3.0), by a version
// of NFS.
func (m *Mounter) callNull(ctx context.Context, to netip.AddrPort, version string) error {
	major := uint32(4)
	if version == "3" {
		major = 3
	}
	_, err := m.call(ctx, "tcp", to, call{programNFS, major, 0}, nil)
	return err
}

// Answers returns nil when the server answers NFS calls. It is for a choice between
// several servers, and gives one of them a few seconds.
func (m *Mounter) Answers(ctx context.Context, src Source) error {
	port, err := src.Port()
	if err != nil || port == 0 { // Not by RDMA or UDP.
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	address := netip.AddrPortFrom(src.Addr, port)
	err = m.callNull(ctx, address, src.Version)
	switch {
	case errors.Is(err, errRPC):
		return nil // It does not serve this version, and said so.
	case err != nil && (ctx.Err() != nil || isTimeout(err)):
		err = fmt.Errorf("%s does not answer within %v: %w", address, dialTimeout, unix.ETIMEDOUT)
	case err != nil:
		if op := (*fs.PathError)(nil); errors.As(err, &op) {
			err = op.Err // The rest of it is the address once more.
		}
		err = fmt.Errorf("%s: %w", address, err)
	}
	return err
}

// mountNetwork is the transport to mountd.
func (s Source) mountNetwork() string {
	if strings.HasPrefix(s.option("mountproto"), "udp") {
		return "udp"
	}
	return "tcp"
}

// findMountd finds out where mountd of version 3 listens.
func (m *Mounter) findMountd(ctx context.Context, src Source) (netip.AddrPort, error) {
	if text := src.option("mountport"); text != "" {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return netip.AddrPort{}, fmt.Errorf("the NFS option mountport=%s is not a port", text)
		}
		return netip.AddrPortFrom(src.Addr, uint16(port)), nil
	}
	portmapper := netip.AddrPortFrom(src.Addr, portmapPort)
	network := src.mountNetwork()
	if src.Addr.Is6() {
		// Program, version, the netid, no address, no owner (RFC 1833, section 2.1).
		args := binary.BigEndian.AppendUint32(nil, programMount)
		args = binary.BigEndian.AppendUint32(args, 3)
		args = appendString(appendString(appendString(args, network+"6"), ""), "")
		b, err := m.call(ctx, "tcp", portmapper, call{programPortmap, 3, rpcb3GetAddr}, args)
		if err != nil {
			return netip.AddrPort{}, err
		}
		d := decoder{b: b}
		port, err := universalPort(string(d.bytes()))
		return netip.AddrPortFrom(src.Addr, port), err
	}
	protocol := uint32(6)
	if network == "udp" {
		protocol = 17
	}
	var args []byte
	for _, n := range []uint32{programMount, 3, protocol, 0} {
		args = binary.BigEndian.AppendUint32(args, n)
	}
	b, err := m.call(ctx, "tcp", portmapper, call{programPortmap, 2, portmap2GetPort}, args)
	if err != nil {
		return netip.AddrPort{}, err
	}
	d := decoder{b: b}
	port := d.uint()
	if port == 0 || port > 0xffff {
		return netip.AddrPort{}, errNoMountd
	}
	return netip.AddrPortFrom(src.Addr, uint16(port)), nil
}

var errNoMountd = errors.New("no mountd of version 3")

// universalPort is the port of a universal address, which ends in its two bytes:
// "::.78.80" (RFC 1833, section 2.2.1; RFC 5665, section 5.2.3.3).
func universalPort(address string) (uint16, error) {
	rest, low, _ := cutLast(address)
	_, high, _ := cutLast(rest)
	h, err1 := strconv.ParseUint(high, 10, 8)
	l, err2 := strconv.ParseUint(low, 10, 8)
	if err1 != nil || err2 != nil || h|l == 0 {
		return 0, errNoMountd // An empty one says so.
	}
	return uint16(h<<8 | l), nil
}

func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+1:], true
}

// call makes one call on a connection of its own.
func (m *Mounter) call(ctx context.Context, network string, to netip.AddrPort, c call, args []byte) ([]byte, error) {
	conn, err := m.System.Connect(ctx, network, to)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return onConn(ctx, conn, network, c, args)
}

// onConn makes one call on a connection.
func onConn(ctx context.Context, conn Conn, network string, c call, args []byte) ([]byte, error) {
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	return c.on(conn, network == "tcp", rand.Uint32(), args)
}

// exports asks mountd for the paths that the server exports.
func (m *Mounter) exports(ctx context.Context, src Source) ([]string, error) {
	mountd := m.mountd
	if !mountd.IsValid() {
		var err error
		if mountd, err = m.findMountd(ctx, src); err != nil {
			return nil, err
		}
	}
	b, err := m.call(ctx, src.mountNetwork(), mountd, call{programMount, 3, mount3Export}, nil)
	if err != nil {
		return nil, err
	}
	return parseExports(b)
}

// parseExports reads a list of exports with the groups that may mount each
// (RFC 1813, section 5.2.5).
func parseExports(b []byte) (paths []string, err error) {
	d := decoder{b: b}
	for d.uint() == 1 {
		paths = append(paths, path.Clean(string(d.bytes())))
		for d.uint() == 1 {
			d.bytes()
		}
	}
	if d.short {
		return nil, errRPC
	}
	return paths, nil
}

// A Conn is what a call goes over.
type Conn = net.Conn
