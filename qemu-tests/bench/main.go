// Command bench measures what a site pays for a boot, and prints one table: this
// project, initramfs-tools with an overlay script in shell, and a floor program
// that does the least that can be done. All boot the same kernel from the same
// tree, server and network, in one run, on QEMU's instruction counter
// (-icount), so that the figures do not depend on how busy the machine is. The
// wall clock is used for building the images only.
//
//	make bench
//
// With --versions it compares the versions of NFS instead, by whole boots.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	qemutests "github.com/sidusboot/sidusboot/qemu-tests"
)

func main() { qemutests.RunCommand("bench", run) }

// A row is one way to boot.
type row struct {
	name   string
	image  image
	params string
	// tree is what it boots, with the kernel in it.
	tree string
	// lun says that /rw is a LUN that bears a file system already.
	lun bool

	figures figures
	traffic qemutests.Traffic
}

// figures are what realinit printed: seconds since the kernel's start, and
// memory in kB.
type figures struct {
	realinit, init, unpack, freed float64
	memavailable                  int64
}

func run(ctx context.Context) error {
	suite := flag.String("suite", "bookworm", "Debian `suite` of the tree")
	only := flag.String("only", "", "boot only rows whose name contains this `text`")
	versions := flag.Bool("versions", false, "compare the versions of NFS by whole boots instead, on nfs-ganesha and on nfsd")
	flag.Parse()
	if *versions {
		return compareVersions(ctx, *suite)
	}
	dir, err := os.MkdirTemp("", "sidusboot-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	tree, err := qemutests.Tree(ctx, *suite)
	if err != nil {
		return err
	}
	// The peer needs its own initiator in the tree; both boot that one.
	lunTree, err := qemutests.Variant{Suite: *suite, Packages: []string{"open-iscsi"}}.Tree(ctx)
	if err != nil {
		return err
	}
	_, release, err := qemutests.Kernel(tree)
	if err != nil {
		return err
	}
	for _, tree := range []string{tree, lunTree} {
		if err := compile(ctx, realinitSource, tree+realinit); err != nil {
			return err
		}
	}
	rows, err := makeRows(ctx, dir, tree, lunTree, release)
	if err != nil {
		return err
	}
	for i := range rows {
		if !strings.Contains(rows[i].name, *only) {
			continue
		}
		fmt.Fprintf(os.Stderr, "bench: booting %s\n", rows[i].name)
		if err := rows[i].boot(ctx); err != nil {
			return fmt.Errorf("%s: %w", rows[i].name, err)
		}
		fmt.Fprintf(os.Stderr, "bench: %s: %+v\n", rows[i].name, rows[i].figures)
	}
	print(rows, release)
	return nil
}

func makeRows(ctx context.Context, dir, tree, lunTree, release string) ([]row, error) {
	fmt.Fprintln(os.Stderr, "bench: building the images")
	virtual, err := buildOurs(ctx, dir, tree, "virtual")
	if err != nil {
		return nil, err
	}
	generic, err := buildOurs(ctx, dir, tree, "generic")
	if err != nil {
		return nil, err
	}
	withLUN, err := buildOurs(ctx, dir, lunTree, "virtual,iscsi")
	if err != nil {
		return nil, err
	}
	peer, err := buildPeer(ctx, filepath.Join(dir, "peer"), tree)
	if err != nil {
		return nil, err
	}
	peerLUN, err := buildPeer(ctx, filepath.Join(dir, "peer-lun"), lunTree)
	if err != nil {
		return nil, err
	}
	floor, err := buildFloor(ctx, dir, tree, release)
	if err != nil {
		return nil, err
	}
	root := func(tree string) string {
		// No vers=: what a user gets by default.
		return "ip=dhcp root=/dev/nfs nfsroot=" + qemutests.ServerAddr + ":" + tree
	}
	return []row{
		{name: "sidusboot, virtual", image: virtual, tree: tree, params: root(tree)},
		{name: "sidusboot, generic", image: generic, tree: tree, params: root(tree)},
		{name: "initramfs-tools", image: peer, tree: tree, params: qemutests.PeerParams(tree)},
		{name: "floor", image: floor, tree: tree, params: root(tree)},
		{name: "sidusboot, LUN", image: withLUN, tree: lunTree, lun: true, params: root(lunTree) +
			" sidus.rw=iscsi sidus.iscsi.lun=1 sidus.iscsi.target=" + lun.Target + " sidus.iscsi.user=" + lun.User + " sidus.iscsi.password=" + lun.Password},
		{name: "initramfs-tools, LUN", image: peerLUN, tree: lunTree, lun: true, params: qemutests.PeerParams(lunTree) +
			" peer.target=" + lun.Target + " peer.portal=" + qemutests.ServerAddr + " peer.user=" + lun.User + " peer.password=" + lun.Password},
	}, nil
}

// lun is what the rows with a LUN log in to.
var lun = qemutests.LUN{Target: "iqn.2013-09.org.sidusboot:bench", User: "node", Password: "a-secret-of-16-b"}

// offerLUN makes an ext4 on a LUN of the lab.
func offerLUN(ctx context.Context, lab *qemutests.Lab) error {
	lun := lun
	host, file, err := lab.Volume("lun", 256<<20)
	if err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, "mkfs.ext4", "-q", "-L", "sidusboot", host).CombinedOutput(); err != nil {
		return fmt.Errorf("mkfs.ext4: %w: %s", err, out)
	}
	lun.File = file
	_, err = lab.StartTGT(ctx, []qemutests.LUN{lun})
	return err
}

// boot boots one row in a lab of its own and reads its figures.
func (r *row) boot(ctx context.Context) error {
	kernel, _, err := qemutests.Kernel(r.tree)
	if err != nil {
		return err
	}
	lab, err := qemutests.Open(ctx, qemutests.LabOptions{})
	if err != nil {
		return err
	}
	defer lab.Close()
	// The time begins when the machine has a place for the guest.
	if err := lab.Reserve(ctx, 1); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	if err := lab.StartServers(ctx, qemutests.Export{Path: r.tree}, ""); err != nil {
		return err
	}
	if r.lun {
		if err := offerLUN(ctx, lab); err != nil {
			return err
		}
	}
	guest, err := lab.Boot(ctx, qemutests.GuestOptions{
		Name: "bench", Kernel: kernel, Initrd: r.image.path, Icount: true,
		Cmdline: "console=ttyS0 quiet init=" + realinit + " " + r.params,
	})
	if err != nil {
		return err
	}
	m, err := guest.Expect(ctx, `realinit=([\d.]+) init=([\d.-]+) unpack=([\d.-]+) freed=([\d.-]+) memavailable=(\d+)[\r\n]`)
	if err != nil {
		return err
	}
	f := &r.figures
	if _, err := fmt.Sscan(strings.Join(m.Groups[1:], " "), &f.realinit, &f.init, &f.unpack, &f.freed, &f.memavailable); err != nil {
		return fmt.Errorf("read the figures: %w", err)
	}
	if _, err := guest.Wait(ctx); err != nil {
		return err
	}
	r.traffic, err = guest.Traffic(0)
	return err
}

// print prints the table, and below it the ratios that the project aims at.
func print(rows []row, release string) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "kernel %s, NFS by default\tkernel start to real init\t/init to real init\tunpack\tinitrd bytes\tseconds to build\tMemAvailable MB\tpackets\tbytes on the wire\t\n", release)
	for _, r := range rows {
		f, size := r.figures, int64(0)
		if info, err := os.Stat(r.image.path); err == nil {
			size = info.Size()
		}
		built := "-"
		if r.image.built > 0 {
			built = fmt.Sprintf("%.2f", r.image.built.Seconds())
		}
		fmt.Fprintf(w, "%s\t%.3f\t%.3f\t%.3f\t%d\t%s\t%.0f\t%d\t%d\t\n", r.name, f.realinit, f.realinit-f.init, f.freed-f.unpack,
			size, built, float64(f.memavailable)/1000, r.traffic.ReceivedPackets+r.traffic.SentPackets, r.traffic.ReceivedBytes+r.traffic.SentBytes)
	}
	w.Flush()
	virtual, generic, peer, floor, ourLUN, peerLUN := rows[0], rows[1], rows[2], rows[3], rows[4], rows[5]
	fmt.Println("\nSeconds of a boot are virtual (2 ns an instruction); seconds to build are wall clock, median of three for sidusboot.")
	target := func(what string, got, limit float64, atLeast bool) {
		met, word := got <= limit, "at most"
		if atLeast {
			met, word = got >= limit, "at least"
		}
		verdict := "met"
		if !met {
			verdict = "MISSED"
		}
		fmt.Printf("%-62s %10.2f   %s %g: %s\n", what, got, word, limit, verdict)
	}
	megabytes := func(path string) float64 {
		info, err := os.Stat(path)
		if err != nil {
			return 0
		}
		return float64(info.Size()) / 1e6
	}
	target("kernel start to real init, virtual, times the floor", virtual.figures.realinit/floor.figures.realinit, 1.25, false)
	target("/init to real init, virtual, times the floor", virtual.figures.afterInit()/floor.figures.afterInit(), 1.4, false)
	target("image virtual, MB", megabytes(virtual.image.path), 4, false)
	target("image generic, MB", megabytes(generic.image.path), 14.5, false)
	target("building generic, times faster than mkinitramfs", peer.image.built.Seconds()/generic.image.built.Seconds(), 8, true)
	target("bin/init, MB", megabytes(filepath.Join("bin", "init")), 4.2, false)
	target("kernel start to real init, LUN, times initramfs-tools", ourLUN.figures.realinit/peerLUN.figures.realinit, 0.6, false)
	fmt.Printf("%-62s %10.2f\n", "kernel start to real init, virtual, times initramfs-tools", virtual.figures.realinit/peer.figures.realinit)
}

func (f figures) afterInit() float64 { return f.realinit - f.init }
