package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// files has what is in the packages as it is.
const files = "packaging/files"

// stageServer makes the tree of the package sidusboot for an architecture.
func stageServer(ctx context.Context, opts options, arch, stage string) error {
	s := stager{stage: stage}
	programs := opts.programsFor(arch)
	s.program(filepath.Join(programs, "initrdgen"), arch, "usr/bin/initrdgen")
	s.program(filepath.Join(programs, "sidustree"), arch, "usr/bin/sidustree")
	// Not where it could be taken for the init program of the machine.
	s.program(filepath.Join(programs, "init"), arch, "usr/lib/sidusboot/init")
	// For trees of other machines.
	for _, other := range initArchs {
		if name := "init-" + other; other != arch {
			s.program(filepath.Join(programs, name), other, "usr/lib/sidusboot/"+name)
		}
	}
	for _, program := range []string{"initrdgen", "sidustree"} {
		tool := filepath.Join(opts.programs, program)
		s.completion(ctx, tool, "bash", "usr/share/bash-completion/completions/"+program)
		s.completion(ctx, tool, "zsh", "usr/share/zsh/vendor-completions/_"+program)
		s.completion(ctx, tool, "fish", "usr/share/fish/vendor_completions.d/"+program+".fish")
		s.pages(ctx, tool, opts.commit)
	}
	const doc = "usr/share/doc/sidusboot/"
	s.copy("README.md", doc+"README.md", 0o644)
	s.copyAll("docs/*.md", doc+"docs", 0o644)
	s.copyAll("docs/*.svg", doc+"docs", 0o644)
	s.copyAll("examples/site/*", doc+"examples/site", 0)
	s.compressed("CHANGELOG.md", doc+"changelog.gz")
	s.copy(files+"/sidusboot.overrides", "usr/share/lintian/overrides/sidusboot", 0o644)
	text, err := linkedCopyright(ctx, programs)
	s.about(opts, "sidusboot", text, err)
	return s.err
}

// stageTree makes the tree of sidusboot-tree, but for its configuration files, which
// packaging/sidusboot-tree.yaml names.
func stageTree(_ context.Context, opts options, _, stage string) error {
	s := stager{stage: stage}
	s.copy(files+"/sidusboot-image", "usr/sbin/sidusboot-image", 0o755)
	for _, plugin := range []string{"60-sidusboot.install", "88-sidusboot.install"} {
		s.copy(files+"/"+plugin, "usr/lib/kernel/install.d/"+plugin, 0o755)
	}
	s.compressed(files+"/sidusboot-image.8", "usr/share/man/man8/sidusboot-image.8.gz")
	s.directory("var/lib/sidusboot-tree")
	text, err := ownCopyright()
	s.about(opts, "sidusboot-tree", text, err)
	return s.err
}

// stageInitramfs makes the tree of sidusboot-initramfs.
func stageInitramfs(_ context.Context, opts options, _, stage string) error {
	s := stager{stage: stage}
	s.copy(files+"/only-initramfs", "usr/lib/sidusboot/only-initramfs", 0o644)
	text, err := ownCopyright()
	s.about(opts, "sidusboot-initramfs", text, err)
	return s.err
}

// A stager writes the files of a package below stage. After an error it does
// nothing more.
type stager struct {
	stage string
	err   error
}

// about writes what each package has in /usr/share/doc. err is that of copyright.
func (s *stager) about(opts options, name, copyright string, err error) {
	if s.err == nil {
		s.err = err
	}
	doc := "usr/share/doc/" + name + "/"
	s.write(doc+"copyright", []byte(copyright), 0o644)
	changes := fmt.Sprintf("%s (%s) unstable; urgency=medium\n\n  * Built from the source by make deb. The changes are in\n    /usr/share/doc/sidusboot/changelog.gz.\n\n -- %s  %s\n",
		name, opts.version, opts.maintainer, opts.commit.Format(time.RFC1123Z))
	s.write(doc+"changelog.Debian.gz", s.gzip([]byte(changes)), 0o644)
}

// completion asks a program for its completion of a shell.
func (s *stager) completion(ctx context.Context, program, shell, to string) {
	if s.err != nil {
		return
	}
	out, err := exec.CommandContext(ctx, program, "completion", shell).Output()
	if err != nil {
		s.err = fmt.Errorf("%s completion %s: %w", program, shell, err)
		return
	}
	s.write(to, out, 0o644)
}

// pages asks a program for its manual pages.
func (s *stager) pages(ctx context.Context, program string, date time.Time) {
	if s.err != nil {
		return
	}
	dir, err := os.MkdirTemp("", "sidusboot-pages-")
	if err != nil {
		s.err = err
		return
	}
	defer os.RemoveAll(dir)
	if out, err := exec.CommandContext(ctx, program, "man", dir, "--date", date.Format(time.DateOnly)).CombinedOutput(); err != nil {
		s.err = fmt.Errorf("%s man: %w: %s", program, err, out)
		return
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err == nil && len(names) == 0 {
		err = errors.New("it wrote no pages")
	}
	if err != nil {
		s.err = fmt.Errorf("%s man: %w", program, err)
		return
	}
	for _, name := range names {
		s.compressed(name, "usr/share/man/man1/"+filepath.Base(name)+".gz")
	}
}

func (s *stager) copyAll(pattern, dir string, mode fs.FileMode) {
	names, err := filepath.Glob(pattern)
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("there is no %s", pattern)
	}
	if err != nil && s.err == nil {
		s.err = err
	}
	for _, name := range names {
		s.copy(name, dir+"/"+filepath.Base(name), mode)
	}
}

// initArchs are the architectures whose trees initrdgen makes images for.
var initArchs = []string{"amd64", "arm64"}

// machines are what programs for an architecture are for.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// program copies a program that is for an architecture, and refuses one for another.
func (s *stager) program(from, arch, to string) {
	if s.err != nil {
		return
	}
	f, err := elf.Open(from)
	if err != nil {
		s.err = fmt.Errorf("%s: %w: run make deb, which builds it", from, err)
		return
	}
	defer f.Close()
	if want, ok := machines[arch]; !ok || f.Machine != want {
		s.err = fmt.Errorf("%s is a program for %v, not for %s: run make deb, which builds it", from, f.Machine, arch)
		return
	}
	s.copy(from, to, 0o755)
}

// copy copies a file. Mode 0: 0755 for a script, else 0644.
func (s *stager) copy(from, to string, mode fs.FileMode) {
	b := s.read(from)
	if mode == 0 {
		mode = 0o644
		if strings.HasPrefix(string(b), "#!") {
			mode = 0o755
		}
	}
	s.write(to, b, mode)
}

func (s *stager) compressed(from, to string) {
	s.write(to, s.gzip(s.read(from)), 0o644)
}

func (s *stager) read(name string) []byte {
	if s.err != nil {
		return nil
	}
	b, err := os.ReadFile(name)
	s.err = err
	return b
}

// gzip compresses as gzip -9n does: without a name and a time.
func (s *stager) gzip(b []byte) []byte {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err == nil {
		_, err = w.Write(b)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil && s.err == nil {
		s.err = err
	}
	return out.Bytes()
}

func (s *stager) directory(name string) {
	if s.err == nil {
		s.err = os.MkdirAll(filepath.Join(s.stage, name), 0o755)
	}
}

func (s *stager) write(name string, content []byte, mode fs.FileMode) {
	if s.err != nil {
		return
	}
	path := filepath.Join(s.stage, name)
	if s.err = os.MkdirAll(filepath.Dir(path), 0o755); s.err != nil {
		return
	}
	if s.err = os.WriteFile(path, content, mode); s.err != nil {
		return
	}
	// Whatever the umask is.
	s.err = os.Chmod(path, mode)
}

// setTimes gives what is staged the time of the commit, and directories the mode that
// they have in every package.
func setTimes(stage string, commit time.Time) error {
	return filepath.WalkDir(stage, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if err := os.Chmod(path, 0o755); err != nil {
				return err
			}
		}
		return os.Chtimes(path, commit, commit)
	})
}
