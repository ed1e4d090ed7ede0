package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// A report tells what went into an image and what it weighs.
type report struct {
	Version  string         `json:"version"`
	Root     string         `json:"root"`
	Output   string         `json:"output"`
	Profile  string         `json:"profile"`
	Compress string         `json:"compress"`
	Kernels  []kernelReport `json:"kernels"`
	Init     int64          `json:"init_bytes"`
	Firmware firmwareReport `json:"firmware"`
	Warnings []string       `json:"warnings"`
	Unpacked int64          `json:"unpacked_bytes"`
	Packed   int64          `json:"packed_bytes"`
	Seconds  float64        `json:"seconds"`
	// Files are all that is in the archive, in its order.
	Files []packedFile `json:"files"`
}

type kernelReport struct {
	Release string `json:"release"`
	Modules int    `json:"modules"`
	Bytes   int64  `json:"bytes"`
	// Outside are the modules that lie outside kernel/ in the tree.
	Outside []outsideModule `json:"outside"`
	// Heaviest are the ten biggest modules, unpacked.
	Heaviest []weight `json:"heaviest"`
}

type outsideModule struct {
	Name string `json:"name"`
	Path string `json:"path"` // Below lib/modules/RELEASE.
}

type weight struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
}

type firmwareReport struct {
	Files   int      `json:"files"`
	Bytes   int64    `json:"bytes"`
	Missing []string `json:"missing"`
	// MissingFor has the same files by driver.
	MissingFor map[string][]string `json:"missing_for"`
	// Without are the drivers that have none of their files.
	Without []string `json:"drivers_without"`
}

// heaviest is how many modules a report names.
const heaviest = 10

// count adds up what was packed.
func (r *report) count(releases []string, modules []*moduleFile) {
	for _, release := range releases {
		k := kernelReport{Release: release, Outside: []outsideModule{}}
		for _, m := range modules {
			if m.release == release {
				k.Modules++
				k.Bytes += int64(len(m.data))
				k.Heaviest = append(k.Heaviest, weight{m.name, int64(len(m.data))})
				if isOutside(m.file) {
					k.Outside = append(k.Outside, outsideModule{m.name, m.file})
				}
			}
		}
		slices.SortFunc(k.Heaviest, func(a, b weight) int {
			return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Name, b.Name))
		})
		k.Heaviest = k.Heaviest[:min(heaviest, len(k.Heaviest))]
		r.Kernels = append(r.Kernels, k)
	}
	for _, f := range r.Files {
		switch {
		case f.Path == "init":
			r.Init = f.Bytes
		case strings.HasPrefix(f.Path, "lib/firmware/") && strings.HasPrefix(f.Mode, "10"):
			r.Firmware.Files++
			r.Firmware.Bytes += f.Bytes
		}
	}
}

// firmware takes what packFirmware found missing.
func (r *report) firmware(missing map[string][]string, without []string) {
	r.Firmware.MissingFor = missing
	r.Firmware.Without = append(r.Firmware.Without, without...)
	for _, files := range missing {
		r.Firmware.Missing = append(r.Firmware.Missing, files...)
	}
	slices.Sort(r.Firmware.Missing)
	r.Firmware.Missing = slices.Compact(r.Firmware.Missing)
}

// print writes the report for people.
func (r *report) print(w io.Writer, verbose bool) {
	fmt.Fprintf(w, "%s: %s, profile %s\n", r.Output, megabytes(r.Packed), r.Profile)
	for _, k := range r.Kernels {
		fmt.Fprintf(w, "  kernel    %s: %d modules, %s\n", k.Release, k.Modules, megabytes(k.Bytes))
		var outside, names []string
		for _, m := range k.Outside {
			outside = append(outside, fmt.Sprintf("%s (%s)", m.Name, printable(m.Path)))
		}
		if len(outside) > 0 {
			fmt.Fprintf(w, "  outside   kernel/: %s\n", strings.Join(outside, ", "))
		}
		for _, h := range k.Heaviest {
			names = append(names, fmt.Sprintf("%s %.1f", h.Name, float64(h.Bytes)/1e6))
		}
		fmt.Fprintf(w, "  heaviest  %s\n", strings.Join(names, ", "))
	}
	fmt.Fprintf(w, "  init      %s\n", megabytes(r.Init))
	fmt.Fprintf(w, "  firmware  %d files, %s; %d that drivers name are not in the tree\n",
		r.Firmware.Files, megabytes(r.Firmware.Bytes), len(r.Firmware.Missing))
	if verbose {
		for _, driver := range slices.Sorted(maps.Keys(r.Firmware.MissingFor)) {
			for _, name := range r.Firmware.MissingFor[driver] {
				fmt.Fprintf(w, "            %s: missing %s\n", driver, printable(name))
			}
		}
	}
	fmt.Fprintf(w, "  total     %s unpacked, %s as %s, built in %.1f s\n",
		megabytes(r.Unpacked), megabytes(r.Packed), r.Compress, r.Seconds)
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

// save writes the report for programs.
func (r *report) save(out *output) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	_, err = out.Write(append(text, '\n'))
	return err
}
