package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

// printPackets prints how many packets of each kind a boot takes.
func printPackets(rows []row) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	names := map[string]bool{}
	fmt.Fprint(w, "packets to the real init\t")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t", r.name)
		for _, k := range r.kinds {
			names[k.Name] = true
		}
	}
	fmt.Fprintln(w)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		fmt.Fprintf(w, "%s\t", name)
		for _, r := range rows {
			n := 0
			for _, k := range r.kinds {
				if k.Name == name {
					n = k.Packets
				}
			}
			fmt.Fprintf(w, "%d\t", n)
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

// printRows prints the table.
func printRows(rows []row, release string) {
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
	fmt.Println("\nSeconds of a boot are virtual (2 ns an instruction); seconds to build are wall clock, median of three for sidusboot.")
}

// printTargets prints what the project aims at, of all rows and of the size of a host= image.
func printTargets(rows []row, host image, release string) {
	virtual, generic, peer, floor, ourLUN, peerLUN := rows[0], rows[1], rows[2], rows[3], rows[4], rows[5]
	megabytes := func(path string) float64 {
		info, err := os.Stat(path)
		if err != nil {
			return 0
		}
		return float64(info.Size()) / 1e6
	}
	target("kernel start to real init, virtual, times the floor", virtual.figures.realinit/floor.figures.realinit, 1.25, false)
	target("/init to real init, virtual, times the floor", virtual.figures.afterInit()/floor.figures.afterInit(), 1.4, false)
	target("kernel start to real init, generic, times the floor", generic.figures.realinit/floor.figures.realinit, 1.10, false)
	target("image virtual, MB", megabytes(virtual.image.path), 4, false)
	target("image generic, MB", megabytes(generic.image.path), of(release, 12, 14), false)
	target("image host=FILE,iscsi for one NIC, MB", megabytes(host.path), 4, false)
	target("building generic, seconds on a quiet machine", generic.image.built.Seconds(), of(release, 0.5, 2), false)
	target("building generic, times faster than mkinitramfs", peer.image.built.Seconds()/generic.image.built.Seconds(), 8, true)
	target("bin/init, MB", megabytes(filepath.Join("bin", "init")), 4.2, false)
	target("kernel start to real init, LUN, times initramfs-tools", ourLUN.figures.realinit/peerLUN.figures.realinit, 0.6, false)
	if isDebian12(release) {
		target("kernel start to real init, LUN, seconds", ourLUN.figures.realinit, 7.3, false)
	}
	fmt.Printf("%-62s %10.2f\n", "kernel start to real init, virtual, times initramfs-tools", virtual.figures.realinit/peer.figures.realinit)
}

// of chooses the target for a kernel: that of Debian 12, or, from Debian 13 on, where
// there are more drivers and larger ones, the other.
func of(release string, debian12, later float64) float64 {
	if isDebian12(release) {
		return debian12
	}
	return later
}

func isDebian12(release string) bool { return strings.HasPrefix(release, "6.1.") }

// target prints a figure that the project aims at.
func target(what string, got, limit float64, atLeast bool) {
	met, bound := got <= limit, "at most"
	if atLeast {
		met, bound = got >= limit, "at least"
	}
	verdict := "met"
	if !met {
		verdict = "MISSED"
	}
	fmt.Printf("%-62s %10.2f   %s %g: %s\n", what, got, bound, limit, verdict)
}

func (f figures) afterInit() float64 { return f.realinit - f.init }
