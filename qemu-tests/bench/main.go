// Command bench measures what a site pays for a boot, and prints one table: this
// project, initramfs-tools with an overlay script in shell, dracut with Debian's, and a floor
// program that does the least that can be done. All boot the same kernel from the same
// tree, server and network, in one run, on QEMU's instruction counter
// (-icount), so that the figures do not depend on how busy the machine is. The
// wall clock is used for building the images.
//
//	make bench
//
// A second table has two processors, on which modules load concurrently: by the wall
// clock, as ratios of boots that follow each other. Two whole boots count the calls of NFS until systemd has started all, alone with
// --calls. With --versions it compares the versions of NFS instead, by whole boots, with
// --packets it tells what the packets of each boot to the real init are for.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	qemutests "github.com/sidusboot/sidusboot/qemu-tests"
	"github.com/sidusboot/sidusboot/qemu-tests/wire"
)

func main() { qemutests.RunCommand("bench", run) }

// A row is one way to boot.
type row struct {
	name  string
	image image
	// build makes the image.
	build  func() (image, error)
	params string
	// tree is what it boots, with the kernel in it.
	tree string
	// lun says that /rw is a LUN that bears a file system already.
	lun bool

	// processors is 2 for a boot by the wall clock, 0 for one processor on the
	// instruction counter.
	processors int
	// capture says that the packets are to be told apart.
	capture bool

	figures figures
	traffic qemutests.Traffic
	kinds   []wire.Kind
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
	packets := flag.Bool("packets", false, "print for each row what its packets are for, up to the real init")
	pairs := flag.Bool("pairs", false, "only the table with two processors, by the wall clock: needs a quiet machine")
	calls := flag.Bool("calls", false, "only count the calls of NFS of whole boots")
	versions := flag.Bool("versions", false, "compare the versions of NFS by whole boots instead, on nfs-ganesha and on nfsd")
	flag.Parse()
	for _, names := range [][]string{{"packets", "pairs", "calls", "versions"}, {"only", "calls"}, {"only", "versions"}} {
		if err := qemutests.AtMostOne(flag.CommandLine, names...); err != nil {
			return err
		}
	}
	if *versions {
		return compareVersions(ctx, *suite)
	}
	if *calls {
		return printCalls(ctx, *suite)
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
	_, release, err := qemutests.Kernel(tree)
	if err != nil {
		return err
	}
	chosen := func(lunTree string) []row {
		return slices.DeleteFunc(makeRows(ctx, dir, tree, lunTree, release), func(r row) bool { return !strings.Contains(r.name, *only) })
	}
	// The peer needs its own initiator in the tree; both boot that one.
	lunTree := tree
	if slices.ContainsFunc(chosen(""), func(r row) bool { return r.lun }) {
		if lunTree, err = (qemutests.Variant{Suite: *suite, Packages: []string{"open-iscsi"}}).Tree(ctx); err != nil {
			return err
		}
	}
	rows := chosen(lunTree)
	if strings.Contains(dracutName, *only) {
		dracut, err := dracutRow(ctx, *suite)
		if err != nil {
			return err
		}
		rows = append(rows, dracut)
	}
	for _, r := range rows {
		if err := compile(ctx, realinitSource, r.tree+realinit); err != nil {
			return err
		}
	}
	for i := range rows {
		fmt.Fprintf(os.Stderr, "bench: building the image of %s\n", rows[i].name)
		if rows[i].image, err = rows[i].build(); err != nil {
			return fmt.Errorf("%s: %w", rows[i].name, err)
		}
	}
	if *pairs {
		return comparePairs(ctx, rows)
	}
	for i := range rows {
		rows[i].capture = *packets
		fmt.Fprintf(os.Stderr, "bench: booting %s\n", rows[i].name)
		if err := rows[i].boot(ctx); err != nil {
			return fmt.Errorf("%s: %w", rows[i].name, err)
		}
		fmt.Fprintf(os.Stderr, "bench: %s: %+v\n", rows[i].name, rows[i].figures)
	}
	if *packets {
		return printPackets(rows)
	}
	printRows(rows, release)
	if *only != "" {
		return nil
	}
	host, err := buildHost(ctx, dir, tree)
	if err != nil {
		return err
	}
	printTargets(rows, host, release)
	if err := comparePairs(ctx, rows); err != nil {
		return err
	}
	return printCalls(ctx, *suite)
}

// makeRows are all ways to boot, without their images.
func makeRows(ctx context.Context, dir, tree, lunTree, release string) []row {
	ours := func(tree, profile string) func() (image, error) {
		return func() (image, error) { return buildOurs(ctx, dir, tree, profile) }
	}
	peer := func(tree, name string) func() (image, error) {
		return func() (image, error) { return buildPeer(ctx, filepath.Join(dir, name), tree) }
	}
	root := func(tree string) string {
		// No vers=: what a user gets by default.
		return "ip=dhcp root=/dev/nfs nfsroot=" + qemutests.ServerAddr + ":" + tree
	}
	return []row{
		{name: "sidusboot, virtual", build: ours(tree, "virtual"), tree: tree, params: root(tree)},
		{name: "sidusboot, generic", build: ours(tree, "generic"), tree: tree, params: root(tree)},
		{name: peerName, build: peer(tree, "peer"), tree: tree, params: qemutests.PeerParams(tree)},
		{name: "floor", build: func() (image, error) { return buildFloor(ctx, dir, tree, release) }, tree: tree, params: root(tree)},
		{name: "sidusboot, LUN", build: ours(lunTree, "virtual,iscsi"), tree: lunTree, lun: true, params: root(lunTree) +
			" sidus.rw=iscsi sidus.iscsi.lun=1 sidus.iscsi.target=" + lun.Target + " sidus.iscsi.user=" + lun.User + " sidus.iscsi.password=" + lun.Password},
		{name: "initramfs-tools, LUN", build: peer(lunTree, "peer-lun"), tree: lunTree, lun: true, params: qemutests.PeerParams(lunTree) +
			" peer.target=" + lun.Target + " peer.portal=" + qemutests.ServerAddr + " peer.user=" + lun.User + " peer.password=" + lun.Password},
	}
}

// peerName is the row that is what people had.
const peerName = "initramfs-tools"

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
	var capture *qemutests.Server
	var packets string
	if r.capture {
		if capture, packets, err = lab.Capture(ctx, ""); err != nil {
			return err
		}
	}
	guest, err := lab.Boot(ctx, qemutests.GuestOptions{
		Name: "bench", Kernel: kernel, Initrd: r.image.path, Icount: r.processors == 0, Processors: r.processors,
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
	if r.traffic, err = guest.Traffic(0); err != nil || capture == nil {
		return err
	}
	if err := capture.Stop(); err != nil {
		return err
	}
	file, err := os.Open(lab.Path(packets))
	if err != nil {
		return err
	}
	defer file.Close()
	r.kinds, err = wire.Kinds(file)
	return err
}
