package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"
)

// printTables prints what was measured, and what can be computed of it.
func printTables(w io.Writer, all results) {
	printRecordings(w, all.Recordings)
	printRuns(w, all.Runs)
	printComputed(w, all)
}

// table lines columns up.
func table(w io.Writer) *tabwriter.Writer {
	return tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
}

func printRecordings(w io.Writer, boots []recordedBoot) {
	names := map[string]bool{}
	for _, b := range boots {
		for name := range b.Calls {
			names[name] = true
		}
	}
	fmt.Fprintln(w, "Calls of one boot until systemd has started all:")
	t := table(w)
	fmt.Fprint(t, "\t")
	for _, b := range boots {
		fmt.Fprintf(t, "%s, %s\t", b.Server, b.Tree)
	}
	fmt.Fprintln(t)
	row := func(name string, value func(recordedBoot) string) {
		fmt.Fprintf(t, "%s\t", name)
		for _, b := range boots {
			fmt.Fprintf(t, "%s\t", value(b))
		}
		fmt.Fprintln(t)
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		row(name, func(b recordedBoot) string { return fmt.Sprint(b.Calls[name]) })
	}
	row("in all", func(b recordedBoot) string { return fmt.Sprint(b.Total) })
	row("MB from the server", func(b recordedBoot) string { return fmt.Sprintf("%.1f", float64(b.Down)/1e6) })
	row("MB to the server", func(b recordedBoot) string { return fmt.Sprintf("%.1f", float64(b.Up)/1e6) })
	row("seconds, first call to last reply", func(b recordedBoot) string { return fmt.Sprintf("%.1f", b.Seconds) })
	t.Flush()
}

func printRuns(w io.Writer, runs []run) {
	fmt.Fprintln(w, "\nAll nodes begin at one moment; seconds of this machine's clock:")
	t := table(w)
	fmt.Fprintln(t, "server, tree\tfaster\tnodes\tlost\tfirst served\tmedian\tlast served\tslowest reply\tpeak RPC/s\tMB/s\tserver CPU s\tplayer CPU s\twrong\t")
	for _, r := range runs {
		rate := 0.0
		if r.Last > 0 {
			rate = float64(r.Bytes) / 1e6 / r.Last
		}
		fmt.Fprintf(t, "%s, %s\t%g\t%d\t%d\t%.1f\t%.1f\t%.1f\t%.3f\t%d\t%.0f\t%.1f\t%.1f\t%d\t\n", r.Server, r.Tree, r.Faster, r.Nodes, r.Lost,
			r.First, r.Median, r.Last, r.Slowest, r.Peak, rate, r.ServerCPU, r.OwnCPU, r.Wrong)
	}
	t.Flush()
	for _, r := range runs {
		if r.wrongFirst != "" || r.lostFirst != "" {
			fmt.Fprintf(w, "%s, %s, %d nodes: %s %s\n", r.Server, r.Tree, r.Nodes, r.wrongFirst, r.lostFirst)
		}
	}
}

// Shares of the wire that are payload, with the gap between frames: TCP with
// timestamps, and TFTP with blocks of 1,468 bytes, as PXE asks for.
const (
	frameOnWire = 1538
	tcpPayload  = 1448.0 / frameOnWire
	tftpBlock   = 1468
	tftpPayload = 1468.0 / frameOnWire
	roundTrip   = 200 * time.Microsecond
	bitsPerByte = 8
	oneGigabit  = 1e9
	tenGigabit  = 1e10
)

// wireSeconds is how long bytes take on a wire of which a share is payload.
func wireSeconds(bytes, rate, share float64) float64 { return bytes * bitsPerByte / (rate * share) }

// tftpSeconds is the least that one file takes by TFTP: each block waits for the
// acknowledgement of the one before it.
func tftpSeconds(size int64) float64 {
	return float64(size) / tftpBlock * roundTrip.Seconds()
}

// printComputed prints the least time in which a server's link can carry what the
// nodes load: nothing of it is measured but the number of bytes.
func printComputed(w io.Writer, all results) {
	if len(all.Recordings) == 0 {
		return
	}
	b, f := all.Recordings[0], all.Files
	first := float64(f.Kernel + f.Generic)
	fmt.Fprintf(w, "\nComputed, the server's link alone: kernel %.1f MB and generic image %.1f MB, then %.1f MB by NFS for each node.\n",
		float64(f.Kernel)/1e6, float64(f.Generic)/1e6, float64(b.Down)/1e6)
	fmt.Fprintf(w, "One node loads kernel and image by TFTP in %.1f s at least (%v for each block of %d bytes).\n",
		tftpSeconds(f.Kernel+f.Generic), roundTrip, tftpBlock)
	t := table(w)
	fmt.Fprintln(t, "nodes\t1 Gb/s: TFTP\tHTTP\tNFS\t10 Gb/s: TFTP\tHTTP\tNFS\t")
	for _, n := range []float64{1, 10, 200, 1000, 10000} {
		fmt.Fprintf(t, "%.0f\t", n)
		for _, rate := range []float64{oneGigabit, tenGigabit} {
			fmt.Fprintf(t, "%.1f\t%.1f\t%.1f\t", max(wireSeconds(n*first, rate, tftpPayload), tftpSeconds(f.Kernel+f.Generic)),
				wireSeconds(n*first, rate, tcpPayload), wireSeconds(n*float64(b.Down), rate, tcpPayload))
		}
		fmt.Fprintln(t)
	}
	t.Flush()
}
