// Command packaging makes the Debian packages of this repository, by nfpm: sidusboot
// for the server, for each architecture, sidusboot-tree and sidusboot-initramfs for inside
// a tree. make deb calls it, in the repository, after the programs were built.
//
// It writes only below the directory of --output. The same commit gives the same
// packages, bit for bit.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// options are the command line.
type options struct {
	// programs is the directory with the programs of this machine, which are asked for
	// their manual pages and go into the package for the first of the architectures; those
	// for each other one are in a directory below it, which has its name.
	programs   string
	output     string
	version    string
	archs      []string
	maintainer string
	commit     time.Time
}

// programsFor is the directory with the programs for an architecture.
func (o options) programsFor(arch string) string {
	if arch == o.archs[0] {
		return o.programs
	}
	return filepath.Join(o.programs, arch)
}

// defaultMaintainer is nobody whom mail reaches: who gives packages away names somebody
// (make deb MAINTAINER=). lintian accepts it.
const defaultMaintainer = "sidusboot authors <sidusboot@users.noreply.github.com>"

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		fmt.Fprintln(os.Stderr, "packaging:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	opts, err := parse(args)
	if err != nil {
		return err
	}
	version, err := debianVersion(opts.version, opts.commit)
	if err != nil {
		return err
	}
	opts.version = version
	// Only what was made here before is removed.
	stages := filepath.Join(opts.output, "stage")
	if err := os.RemoveAll(stages); err != nil {
		return err
	}
	type deb struct {
		name, arch string
		stage      func(ctx context.Context, opts options, arch, stage string) error
	}
	debs := []deb{{"sidusboot-tree", "all", stageTree}, {"sidusboot-initramfs", "all", stageInitramfs}}
	for _, arch := range opts.archs {
		debs = append(debs, deb{"sidusboot", arch, stageServer})
	}
	for _, p := range debs {
		stage := filepath.Join(stages, p.name+"_"+p.arch)
		deb := filepath.Join(opts.output, p.name+"_"+version+"_"+p.arch+".deb")
		err := p.stage(ctx, opts, p.arch, stage)
		if err == nil {
			err = pack(ctx, opts, p.name, p.arch, stage, deb)
		}
		if err != nil {
			return fmt.Errorf("package %s for %s: %w", p.name, p.arch, err)
		}
		info, err := os.Stat(deb)
		if err != nil {
			return err
		}
		fmt.Printf("%s: %.1f MB\n", deb, float64(info.Size())/1e6)
	}
	return nil
}

func parse(args []string) (options, error) {
	var opts options
	var commit, archs string
	f := flag.NewFlagSet("packaging", flag.ContinueOnError)
	f.StringVar(&opts.programs, "programs", "bin", "the `DIR` with the programs for this machine; those for another architecture are in DIR/ARCHITECTURE")
	f.StringVar(&opts.output, "output", "bin/deb", "the `DIR` for the packages")
	f.StringVar(&opts.version, "version", "", "what git describe prints for the `COMMIT`")
	f.StringVar(&archs, "arch", runtime.GOARCH, "the `ARCHITECTURES` for which there is a package with programs, as Debian calls them, with commas: this machine's first")
	f.StringVar(&opts.maintainer, "maintainer", "", "the `NAME <ADDRESS>` of who answers for the packages (default: "+defaultMaintainer+")")
	f.StringVar(&commit, "commit-time", "", "the time of the commit, in `SECONDS` since 1970")
	if err := f.Parse(args); err != nil {
		return options{}, err
	}
	opts.archs = strings.Split(archs, ",")
	opts.maintainer = cmp.Or(opts.maintainer, defaultMaintainer)
	if err := checkMaintainer(opts.maintainer); err != nil {
		return options{}, fmt.Errorf("--maintainer: %w", err)
	}
	seconds, err := strconv.ParseInt(commit, 10, 64)
	if err != nil {
		return options{}, fmt.Errorf("--commit-time: %q is not a number of seconds since 1970: give that of the commit (git log -1 --format=%%ct)", commit)
	}
	opts.commit = time.Unix(seconds, 0).UTC()
	return opts, nil
}

// maintainer is NAME <ADDRESS>, as Debian Policy asks for it (section 5.6.2): a name
// without commas, a host with a domain. nfpm would replace what has a $.
var maintainer = regexp.MustCompile(`^[^<>,$"\\[:cntrl:] ][^<>,$"\\[:cntrl:]]* <[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+>$`)

func checkMaintainer(text string) error {
	if !maintainer.MatchString(text) {
		return fmt.Errorf("%q is not a name and an address: write it as Ada Miller <ada@site.example.com>, without commas, quotes and $", text)
	}
	return nil
}

// pack makes the package deb out of what is staged, by nfpm with the file
// packaging/NAME.yaml.
func pack(ctx context.Context, opts options, name, arch, stage, deb string) error {
	if err := setTimes(stage, opts.commit); err != nil {
		return err
	}
	version := strings.TrimSuffix(opts.version, revision)
	cmd := exec.CommandContext(ctx, "go", "tool", "-modfile=tools/go.mod", "nfpm", "package",
		"--config", "packaging/"+name+".yaml", "--packager", "deb", "--target", deb)
	cmd.Env = append(os.Environ(), "STAGE="+stage, "DEB_VERSION="+version, "DEB_ARCH="+arch,
		"DEB_MAINTAINER="+opts.maintainer, "SOURCE_DATE_EPOCH="+strconv.FormatInt(opts.commit.Unix(), 10))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nfpm: %w: %s", err, out)
	}
	return nil
}
