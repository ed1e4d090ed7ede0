package main

import (
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/sidusboot/sidusboot/config"
	"github.com/sidusboot/sidusboot/image"
)

// A program is one that goes into the image from outside the tree.
type program struct {
	flag, file string
	arch       arch
}

// fixedEntries are what every image holds besides kernels: mount points, /init
// and the files that were named on the command line.
func fixedEntries(opts options, rep *report) (entries []entry, programs []program, err error) {
	for _, dir := range []string{"proc", "sys", "run", "ro", "rw", "aufs", "etc", "lib", "tmp"} {
		entries = append(entries, dirEntry(dir, 0o755))
	}
	for _, f := range []struct{ flag, from, to, remedy string }{
		{"--init", opts.Init, image.Init, "name sidusboot's init, which make leaves in bin/"},
		{"--rescue", opts.Rescue, image.Rescue, "name a static program, as busybox of Debian's busybox-static is"},
	} {
		if f.from == "" {
			continue
		}
		data, err := readHostFile(f.from)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w: %s", f.flag, err, remedyFor(err, f.remedy))
		}
		arch, err := openProgram(data)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %s %w: %s", f.flag, f.from, err, f.remedy)
		}
		programs = append(programs, program{f.flag, f.from, arch})
		entries = append(entries, fileEntry(f.to, 0o755, data))
	}
	if opts.Config != "" {
		data, err := readHostFile(opts.Config)
		if err != nil {
			return nil, nil, fmt.Errorf("--config: %w: %s", err, remedyFor(err, "name a file of kernel command line parameters"))
		}
		cfg, err := config.Parse("", string(data))
		if err != nil {
			return nil, nil, fmt.Errorf("--config: %s: %s", opts.Config, strings.ReplaceAll(err.Error(), "\n", "; "))
		}
		for _, note := range cfg.Notes {
			rep.Warnings = append(rep.Warnings, fmt.Sprintf("--config: %s: %s", opts.Config, note))
		}
		if cfg.ISCSI.Password != "" || cfg.ISCSI.PasswordIn != "" {
			rep.Warnings = append(rep.Warnings, fmt.Sprintf("--config: %s: holds a password, and everybody may read what is packed with --config: put it into a file for --secrets", opts.Config))
		}
		entries = append(entries, fileEntry(image.Config, 0o644, data))
	}
	if opts.Secrets != "" {
		data, err := readSecretFile(opts.Secrets)
		if err != nil {
			return nil, nil, fmt.Errorf("--secrets: %w", err)
		}
		if _, err := config.ParseSecrets(string(data)); err != nil {
			return nil, nil, fmt.Errorf("--secrets: %s: %s", opts.Secrets, strings.ReplaceAll(err.Error(), "\n", "; "))
		}
		rep.Warnings = append(rep.Warnings, fmt.Sprintf(
			"--secrets: everybody who can fetch %s by TFTP or HTTP can read the secrets in it; on this host only its owner may read it (mode 0600): a boot server that runs as another user needs it as its own (chown, which later builds keep)", opts.Output))
		entries = append(entries, fileEntry(image.Secrets, 0o600, data))
	}
	return entries, programs, nil
}

// checkArch refuses a program that the tree's kernels could not run.
func checkArch(t *tree, programs []program, modules []*moduleFile) error {
	for _, p := range programs {
		for _, m := range modules {
			if m.arch != p.arch {
				return fmt.Errorf("%s: %s is for %v, but %s for %v: name one that is built for the tree's kernel",
					p.flag, p.file, p.arch, t.path(m.path), m.arch)
			}
		}
	}
	return nil
}

// readHostFile reads a file that was named on the command line.
func readHostFile(name string) ([]byte, error) {
	f, _, err := openHostFile(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := readRegular(f)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errorOf(err)}
	}
	return data, nil
}

// openHostFile opens a file that is one: a FIFO would hang the build.
func openHostFile(name string) (*os.File, fs.FileInfo, error) {
	fi, err := os.Stat(name)
	if err != nil {
		return nil, nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, nil, &fs.PathError{Op: "open", Path: name, Err: errNotRegular}
	}
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	if fi, err = f.Stat(); err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, fi, nil
}

// readSecretFile reads a file that nobody but its owner may read.
func readSecretFile(name string) ([]byte, error) {
	f, fi, err := openHostFile(name)
	if err != nil {
		return nil, fmt.Errorf("%w: name a file of mode 600 that is yours", err)
	}
	defer f.Close()
	if perm := fi.Mode().Perm(); perm&0o077 != 0 {
		return nil, fmt.Errorf("%s has mode %04o, and what is in it is for its owner alone: chmod 600 %s", name, perm, name)
	}
	data, err := readRegular(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: name a file of mode 600 that is yours", name, err)
	}
	return data, nil
}

// releaseEntry is the file that says what built the image, in the manner of
// os-release(5).
func releaseEntry(profile string, releases []string) entry {
	var b strings.Builder
	fmt.Fprintf(&b, "NAME=\"sidusboot\"\nID=sidusboot\nPRETTY_NAME=\"sidusboot initrd (%s)\"\n", profile)
	fmt.Fprintf(&b, "SIDUSBOOT_BUILDER=%q\n", builtFrom())
	fmt.Fprintf(&b, "SIDUSBOOT_PROFILE=%q\n", profile)
	fmt.Fprintf(&b, "SIDUSBOOT_KERNELS=%q\n", strings.Join(releases, " "))
	return fileEntry(image.Release, 0o644, []byte(b.String()))
}
