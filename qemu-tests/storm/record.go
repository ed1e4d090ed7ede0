package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	qemutests "github.com/sidusboot/sidusboot/qemu-tests"
	"github.com/sidusboot/sidusboot/qemu-tests/wire"
)

// A server is one kind of NFS server with what it serves.
type server struct {
	target
	// roots are the paths on the server by the kind of tree.
	roots         map[string]string
	kernel, image string
	files         files
}

// Files are what a node loads before it has an NFS root, in bytes.
type files struct {
	Kernel  int64 `json:"kernel"`
	Virtual int64 `json:"image_virtual"`
	Generic int64 `json:"image_generic"`
}

// startServer runs a server, and a DHCP server beside it.
func startServer(ctx context.Context, lab *qemutests.Lab, name string, o options) (*server, error) {
	tree, err := qemutests.Tree(ctx, qemutests.Suites[0])
	if err != nil {
		return nil, err
	}
	s := &server{roots: map[string]string{"plain": tree}}
	if s.kernel, _, err = qemutests.Kernel(tree); err != nil {
		return nil, err
	}
	if s.image, err = qemutests.BuildImage(ctx, tree, "--profile=virtual"); err != nil {
		return nil, err
	}
	generic, err := qemutests.BuildImage(ctx, tree, "--profile=generic")
	if err != nil {
		return nil, err
	}
	for file, size := range map[string]*int64{s.kernel: &s.files.Kernel, s.image: &s.files.Virtual, generic: &s.files.Generic} {
		info, err := os.Stat(file)
		if err != nil {
			return nil, err
		}
		*size = info.Size()
	}
	switch name {
	case "ganesha":
		err = s.startGanesha(ctx, lab, tree)
	case "nfsd":
		err = s.startNFSD(ctx, lab, tree, o.threads)
	default:
		err = fmt.Errorf("no such server: want ganesha or nfsd")
	}
	if err != nil {
		return nil, err
	}
	s.name = name
	_, err = lab.StartDHCP(ctx, qemutests.DHCPOptions{Hosts: []qemutests.DHCPHost{qemutests.Node()}, Router: qemutests.ServerAddr})
	return s, err
}

// startGanesha serves the tree, and a version of it.
func (s *server) startGanesha(ctx context.Context, lab *qemutests.Lab, tree string) error {
	base, err := lab.PublishTree(ctx, tree)
	if err != nil {
		return err
	}
	s.roots["version"] = base
	nfs, err := lab.StartNFS(ctx, qemutests.NFSOptions{Exports: []qemutests.Export{{Path: tree}, {Path: base}}})
	if err != nil {
		return err
	}
	s.addr = fmt.Sprintf("%s:%d", qemutests.ServerAddr, qemutests.NFSPort)
	s.cpu = func(context.Context) (time.Duration, error) { return nfs.CPU() }
	return nil
}

// startNFSD serves the tree from a guest.
func (s *server) startNFSD(ctx context.Context, lab *qemutests.Lab, tree string, threads int) error {
	nfsd, err := lab.StartNFSD(ctx, qemutests.NFSDOptions{Tree: tree, Threads: threads, Options: "insecure"})
	if err != nil {
		return err
	}
	s.addr = fmt.Sprintf("%s:%d", qemutests.NFSDAddr, qemutests.NFSPort)
	s.cpu = func(ctx context.Context) (time.Duration, error) {
		// proc_stat(5): user, nice, system, irq, softirq, in 1/100 s.
		out, err := nfsd.Must(ctx, `awk '$1 == "cpu" { print $2 + $3 + $4 + $7 + $8 }' /proc/stat`)
		if err != nil {
			return 0, err
		}
		ticks, err := strconv.Atoi(strings.TrimSpace(out))
		return time.Duration(ticks) * 10 * time.Millisecond, err
	}
	return nil
}

// recordBoot boots a node until systemd has started all, and records what it
// asks.
func recordBoot(ctx context.Context, lab *qemutests.Lab, s *server, tree, root string) (recordedBoot, *wire.Recording, error) {
	boot := recordedBoot{Server: s.name, Tree: tree}
	ctx, cancel := lab.Watched(ctx)
	defer cancel()
	to, err := netip.ParseAddrPort(s.addr)
	if err != nil {
		return boot, nil, err
	}
	capture, path, err := lab.Capture(ctx, fmt.Sprintf("host %s and tcp port %d", to.Addr(), to.Port()))
	if err != nil {
		return boot, nil, err
	}
	defer capture.Stop()
	guest, err := lab.Boot(ctx, qemutests.GuestOptions{
		Name: "recorded", Kernel: s.kernel, Initrd: s.image, Icount: true,
		Cmdline: fmt.Sprintf("quiet nfsroot=%s:%s %s %s", to.Addr(), root, qemutests.EventParam, qemutests.AgentParam),
	})
	if err != nil {
		return boot, nil, err
	}
	defer guest.Kill()
	// The node's clock counts its instructions: it is compared with this machine's.
	handover, err := guest.WaitStage(ctx, "handover", qemutests.Begin)
	if err != nil {
		return boot, nil, err
	}
	from := time.Now()
	out, err := guest.Must(ctx, `systemctl is-system-running --wait >/dev/null; cut -d' ' -f1 /proc/uptime
sed -n 's/.*"nfs_version": *"\(.*\)".*/\1/p' /run/sidusboot/boot.json`)
	if err != nil {
		return boot, nil, err
	}
	wall := time.Since(from).Seconds()
	var version string
	if _, err := fmt.Sscan(strings.Join(strings.Fields(out), " "), &boot.Node, &version); err != nil || version != "3" {
		return boot, nil, fmt.Errorf("%q: %w; want a time and version 3", out, err)
	}
	boot.Clock = (boot.Node - handover.Uptime.Seconds()) / wall
	if err := capture.Stop(); err != nil {
		return boot, nil, err
	}
	file, err := os.Open(lab.Path(path))
	if err != nil {
		return boot, nil, err
	}
	defer file.Close()
	recording, err := wire.Record(file, to)
	if err != nil {
		return boot, nil, err
	}
	boot.Seconds = recording.Took().Seconds() * boot.Clock
	boot.Calls, boot.Total = recording.Count(), len(recording.Calls)
	boot.Up, boot.Down = recording.Up, recording.Down
	fmt.Fprintf(os.Stderr, "storm: %+v\n", boot)
	return boot, recording, os.Remove(lab.Path(path))
}
