package nfs_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/nfs"
)

// A printer is a machine whose server serves version 4.1 only. It prints what it
// is asked for.
type printer struct{}

func (printer) Mount(device, dir, _ string, _ uintptr, data string) error {
	version, _, _ := strings.Cut(data, ",")
	fmt.Println("mount", device, dir, version)
	if version != "vers=4.1" {
		return unix.EPROTONOSUPPORT
	}
	return nil
}

func (printer) Unmount(dir string) error { return nil }
func (printer) Load(string) error        { return nil }
func (printer) Verify(dir string) error  { return nil }

func (printer) Connect(_ context.Context, _ string, to netip.AddrPort) (nfs.Conn, error) {
	if to.Port() == 2049 {
		return silent{}, nil
	}
	return nil, unix.ECONNREFUSED // It has no portmapper, so no version 3.
}

// silent is a connection on which nothing is said.
type silent struct{ nfs.Conn }

func (silent) Close() error { return nil }

func ExampleMounter_Mount() {
	m := nfs.Mounter{System: printer{}, Logf: func(string, ...any) {}}
	version, err := m.Mount(context.Background(), nfs.Source{
		Server: "nas", Addr: netip.MustParseAddr("10.0.0.1"), Path: "/srv/tree",
	}, "/ro")
	fmt.Println(version, err)
	// Output:
	// mount 10.0.0.1:/srv/tree /ro vers=4.2
	// mount 10.0.0.1:/srv/tree /ro vers=4.1
	// 4.1 <nil>
}

func ExampleSource_Data() {
	src := nfs.Source{Addr: netip.MustParseAddr("10.0.0.1"), Path: "/srv/tree", Options: []string{"nconnect=4"}}
	fmt.Println(src.Data("3"))
	// Output:
	// vers=3,proto=tcp,hard,timeo=600,retrans=2,nolock,mountproto=tcp,mountvers=3,mountaddr=10.0.0.1,addr=10.0.0.1,nconnect=4
}
