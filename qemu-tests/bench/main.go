// Command bench measures what a site pays for a boot, and prints one table: this
// project, initramfs-tools with an overlay script in shell, and a floor program
// that does the least that can be done. All boot the same kernel from the same
// tree, server and network, in one run, on QEMU's instruction counter
// (-icount), so that the figures do not depend on how busy the machine is. The
// wall clock is used for building the images only.
//
//	make bench
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	qemutests "github.com/sidusboot/sidusboot/qemu-tests"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// A row is one way to boot.
type row struct {
	name  string
	image image
	words string

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
	flag.Parse()
	dir, err := os.MkdirTemp("", "sidusboot-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	tree, err := qemutests.Tree(ctx, *suite)
	if err != nil {
		return err
	}
	kernel, release, err := qemutests.Kernel(tree)
	if err != nil {
		return err
	}
	if err := compile(ctx, realinitSource, tree+realinit); err != nil {
		return err
	}
	rows, err := makeRows(ctx, dir, tree, release)
	if err != nil {
		return err
	}
	for i := range rows {
		if !strings.Contains(rows[i].name, *only) {
			continue
		}
		fmt.Fprintf(os.Stderr, "bench: booting %s\n", rows[i].name)
		if err := rows[i].boot(ctx, kernel, tree); err != nil {
			return fmt.Errorf("%s: %w", rows[i].name, err)
		}
	}
	print(rows, release)
	return nil
}

func makeRows(ctx context.Context, dir, tree, release string) ([]row, error) {
	fmt.Fprintln(os.Stderr, "bench: building the images")
	virtual, err := buildOurs(ctx, dir, tree, "virtual")
	if err != nil {
		return nil, err
	}
	generic, err := buildOurs(ctx, dir, tree, "generic")
	if err != nil {
		return nil, err
	}
	peer, err := buildPeer(ctx, dir, tree)
	if err != nil {
		return nil, err
	}
	floor, err := buildFloor(ctx, dir, tree, release)
	if err != nil {
		return nil, err
	}
	root := "ip=dhcp root=/dev/nfs nfsroot=" + qemutests.ServerAddr + ":" + tree + ",vers=3"
	return []row{
		{name: "sidusboot, virtual", image: virtual, words: root},
		{name: "sidusboot, generic", image: generic, words: root},
		{name: "initramfs-tools", image: peer, words: qemutests.PeerWords(tree)},
		{name: "floor", image: floor, words: root},
	}, nil
}

// boot boots one row in a lab of its own and reads its figures.
func (r *row) boot(ctx context.Context, kernel, tree string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	lab, err := qemutests.Open(ctx, qemutests.LabOptions{Logf: func(string, ...any) {}})
	if err != nil {
		return err
	}
	defer lab.Close()
	if _, err := lab.StartNFS(ctx, qemutests.NFSOptions{Exports: []qemutests.Export{{Path: tree}}}); err != nil {
		return err
	}
	_, err = lab.StartDHCP(ctx, qemutests.DHCPOptions{
		Hosts:  []qemutests.DHCPHost{{MAC: qemutests.MAC(1), Addr: "10.77.0.11", Name: "node11"}},
		Router: qemutests.ServerAddr, Domain: "sidus.test", NextServer: qemutests.ServerAddr,
	})
	if err != nil {
		return err
	}
	guest, err := lab.Boot(ctx, qemutests.GuestOptions{
		Name: "bench", Kernel: kernel, Initrd: r.image.path, Icount: true,
		Cmdline: "console=ttyS0 quiet init=" + realinit + " " + r.words,
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
	fmt.Fprintf(w, "kernel %s, NFSv3\tkernel start to real init\t/init to real init\tunpack\tinitrd bytes\tseconds to build\tMemAvailable MB\tpackets\tbytes on the wire\t\n", release)
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
	virtual, generic, peer, floor := rows[0], rows[1], rows[2], rows[3]
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
	target("bin/init, MB", megabytes(filepath.Join("bin", "init")), 4, false)
	fmt.Printf("%-62s %10.2f\n", "kernel start to real init, virtual, times initramfs-tools", virtual.figures.realinit/peer.figures.realinit)
}

func (f figures) afterInit() float64 { return f.realinit - f.init }
