package main

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sidusboot/sidusboot/image"
)

// fixedEntries are what every image holds besides kernels: mount points, /init
// and the files that were named on the command line.
func fixedEntries(opts options, rep *report) ([]entry, error) {
	var entries []entry
	for _, dir := range []string{"proc", "sys", "run", "ro", "rw", "aufs", "etc", "lib", "tmp"} {
		entries = append(entries, dirEntry(dir, 0o755))
	}
	if opts.Init == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("--init: %w", err)
		}
		opts.Init = filepath.Join(filepath.Dir(self), "init")
	}
	for _, f := range []struct {
		flag, from, to, remedy string
		mode                   uint32
	}{
		{"--init", opts.Init, image.Init, "name sidusboot's init, which make leaves in bin/", 0o755},
		{"--rescue", opts.Rescue, image.Rescue, "name a static program", 0o755},
		{"--config", opts.Config, image.Config, "name a file of kernel command line words", 0o644},
	} {
		if f.from == "" {
			continue
		}
		data, err := readHostFile(f.from)
		if err != nil {
			return nil, fmt.Errorf("%s: %w: %s", f.flag, err, f.remedy)
		}
		if f.mode == 0o755 {
			if problem := checkProgram(data); problem != "" {
				rep.Warnings = append(rep.Warnings, fmt.Sprintf("%s: %s %s: %s", f.flag, f.from, problem, f.remedy))
			}
		}
		entries = append(entries, fileEntry(f.to, f.mode, data))
	}
	return entries, nil
}

func readHostFile(name string) ([]byte, error) {
	fi, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("not a regular file")}
	}
	return os.ReadFile(name)
}

// checkProgram says why a program could not run in an initrd, "" if it could.
// There is no interpreter and no library in one.
func checkProgram(data []byte) string {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return "is not a program"
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return "is linked dynamically and will not start"
		}
	}
	return ""
}

// releaseEntry is the file that says what built the image, in the manner of
// os-release(5).
func releaseEntry(profile string, releases []string) entry {
	var b strings.Builder
	fmt.Fprintf(&b, "NAME=\"sidusboot\"\nID=sidusboot\nPRETTY_NAME=\"sidusboot initrd (%s)\"\n", profile)
	fmt.Fprintf(&b, "SIDUSBOOT_BUILDER=%q\n", version())
	fmt.Fprintf(&b, "SIDUSBOOT_PROFILE=%q\n", profile)
	fmt.Fprintf(&b, "SIDUSBOOT_KERNELS=%q\n", strings.Join(releases, " "))
	return fileEntry(image.Release, 0o644, []byte(b.String()))
}
