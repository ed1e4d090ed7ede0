package initrd

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"unicode"

	"github.com/sidusboot/sidusboot/config"
	"github.com/sidusboot/sidusboot/image"
)

// A program is one that goes into the image from outside the tree.
type program struct {
	field, file string
	arch        arch
}

// fixedEntries are what every image holds besides kernels: mount points, /init
// and the files that were named in the options.
//
// want is what the kernels run on, as the file from says: another program is refused.
// What is advised is no fault of the image.
func fixedEntries(opts Options, want arch, from string, rep *Report) (entries []entry, advice []string, err error) {
	for _, dir := range image.Directories() {
		entries = append(entries, dirEntry(dir, 0o755))
	}
	for _, f := range []struct{ field, from, to, remedy string }{
		{"Init", opts.Init, image.Init, initRemedy(want)},
		{"Rescue", opts.Rescue, image.Rescue, "give a static program, such as busybox from Debian's package busybox-static"},
	} {
		if f.from == "" {
			continue
		}
		data, err := ReadFile(f.from)
		if err != nil {
			return nil, nil, OptionErrorf(f.field, "%w: %s", err, remedyFor(err, f.remedy))
		}
		arch, err := openProgram(data)
		if err != nil {
			return nil, nil, OptionErrorf(f.field, "%s %w: %s", f.from, err, f.remedy)
		}
		if err := checkProgram(program{f.field, f.from, arch}, want, from); err != nil {
			return nil, nil, err
		}
		entries = append(entries, fileEntry(f.to, 0o755, data))
	}
	if opts.Config != "" {
		data, err := ReadFile(opts.Config)
		if err != nil {
			return nil, nil, OptionErrorf("Config", "%w: %s", err, remedyFor(err, "give a file of kernel command line parameters"))
		}
		if !isText(data) {
			return nil, nil, OptionErrorf("Config", "%s: it is not a text file: give a file of kernel command line parameters", opts.Config)
		}
		cfg, err := config.Parse("", string(data))
		if err != nil {
			return nil, nil, OptionErrorf("Config", "%s: %s", opts.Config, strings.ReplaceAll(err.Error(), "\n", "; "))
		}
		for _, note := range cfg.Notes {
			rep.Warnings = append(rep.Warnings, fmt.Sprintf("%s: %s", opts.Config, note))
		}
		if cfg.ISCSI.Password != "" || cfg.ISCSI.PasswordIn != "" {
			advice = append(advice, fmt.Sprintf("%s: has a password, and every user of a node can read this file: put the password into the file of secrets", opts.Config))
		}
		entries = append(entries, fileEntry(image.Config, 0o644, data))
	}
	if opts.Secrets != "" {
		data, err := ReadSecretFile(opts.Secrets)
		if err != nil {
			return nil, nil, OptionErrorf("Secrets", "%w", err)
		}
		if _, err := config.ParseSecrets(string(data)); err != nil {
			return nil, nil, OptionErrorf("Secrets", "%s: %s", opts.Secrets, strings.ReplaceAll(err.Error(), "\n", "; "))
		}
		advice = append(advice, fmt.Sprintf(
			"everybody who can fetch %s by TFTP or HTTP can read the secrets in it. On this host only its owner may read it (mode 0600): if the boot server runs as another user, give it the file with chown; later builds keep the owner", opts.Output))
		entries = append(entries, fileEntry(image.Secrets, 0o600, data))
	}
	return entries, advice, nil
}

// isText tells whether data has no control characters but those that a file of
// parameters may have between them.
func isText(data []byte) bool {
	return !bytes.ContainsFunc(data, func(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune("\t\n\v\f\r", r) })
}

// checkArch refuses a module that is for another machine than the others.
func checkArch(t *tree, modules []*moduleFile) error {
	for _, m := range modules {
		if first := modules[0]; m.arch != first.arch {
			return fmt.Errorf("%s is for %v, but %s is for %v: install the package of the wrong one again, or remove that file and run depmod -b %s %s",
				t.path(m.path), m.arch, t.path(first.path), first.arch, t.dir, m.release)
		}
	}
	return nil
}

// ReadFile reads a regular file of the host, as OpenFile opens it.
func ReadFile(name string) ([]byte, error) {
	f, err := OpenFile(name)
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

// OpenFile opens a regular file of the host. Anything else in its place is an
// error, and is not waited for.
func OpenFile(name string) (*os.File, error) {
	f, _, err := openHostFile(name)
	return f, err
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

// ReadSecretFile reads a regular file, and refuses one that others than its owner
// may read.
func ReadSecretFile(name string) ([]byte, error) {
	f, fi, err := openHostFile(name)
	if err != nil {
		return nil, fmt.Errorf("%w: give a file of mode 600 that you own", err)
	}
	defer f.Close()
	if perm := fi.Mode().Perm(); perm&0o077 != 0 {
		return nil, fmt.Errorf("%s has mode %04o, so other users may read the secrets in it: run chmod 600 %s", name, perm, name)
	}
	data, err := readRegular(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: give a file of mode 600 that you own", name, err)
	}
	return data, nil
}

// releaseEntry is the file that says what built the image, in the manner of
// os-release(5).
func releaseEntry(builder, profile string, releases []string) entry {
	var b strings.Builder
	fmt.Fprintf(&b, "NAME=\"sidusboot\"\nID=sidusboot\nPRETTY_NAME=\"sidusboot initrd (%s)\"\n", profile)
	fmt.Fprintf(&b, "SIDUSBOOT_BUILDER=%q\n", builder)
	fmt.Fprintf(&b, "SIDUSBOOT_PROFILE=%q\n", profile)
	fmt.Fprintf(&b, "SIDUSBOOT_KERNELS=%q\n", strings.Join(releases, " "))
	return fileEntry(image.Release, 0o644, []byte(b.String()))
}
