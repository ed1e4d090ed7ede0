// Command packaging makes the Debian packages of this repository, by nfpm: sidusboot
// for the server, sidusboot-tree and sidusboot-initramfs for inside a tree. make deb
// calls it, in the repository, after the programs were built.
//
// It writes only below the directory of --output. The same commit gives the same
// packages, bit for bit.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// options are the command line.
type options struct {
	// programs is the directory with the programs of the package's architecture,
	// tools the one with those of this machine, which are asked for their manual pages.
	programs, tools string
	output          string
	version         string
	arch            string
	maintainer      string
	commit          time.Time
}

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
	for _, p := range []struct {
		name, arch string
		stage      func(ctx context.Context, opts options, stage string) error
	}{
		{"sidusboot", opts.arch, stageServer},
		{"sidusboot-tree", "all", stageTree},
		{"sidusboot-initramfs", "all", stageInitramfs},
	} {
		stage := filepath.Join(stages, p.name)
		deb := filepath.Join(opts.output, p.name+"_"+version+"_"+p.arch+".deb")
		err := p.stage(ctx, opts, stage)
		if err == nil {
			err = pack(ctx, opts, p.name, stage, deb)
		}
		if err != nil {
			return fmt.Errorf("package %s: %w", p.name, err)
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
	var commit string
	f := flag.NewFlagSet("packaging", flag.ContinueOnError)
	f.StringVar(&opts.programs, "programs", "bin", "the `DIR` with the programs that go into the package")
	f.StringVar(&opts.tools, "tools", "bin", "the `DIR` with the programs for this machine")
	f.StringVar(&opts.output, "output", "bin/deb", "the `DIR` for the packages")
	f.StringVar(&opts.version, "version", "", "what git describe prints for the `COMMIT`")
	f.StringVar(&opts.arch, "arch", "amd64", "the `ARCHITECTURE` of the programs, as Debian calls it")
	f.StringVar(&opts.maintainer, "maintainer", "sidusboot authors <sidusboot@users.noreply.github.com>", "the `NAME` and address in the packages")
	f.StringVar(&commit, "commit-time", "", "the time of the commit, in `SECONDS` since 1970")
	if err := f.Parse(args); err != nil {
		return options{}, err
	}
	seconds, err := strconv.ParseInt(commit, 10, 64)
	if err != nil {
		return options{}, fmt.Errorf("--commit-time: %q is not a number of seconds since 1970: give that of the commit (git log -1 --format=%%ct)", commit)
	}
	opts.commit = time.Unix(seconds, 0).UTC()
	return opts, nil
}

// pack makes the package deb out of what is staged, by nfpm with the file
// packaging/NAME.yaml.
func pack(ctx context.Context, opts options, name, stage, deb string) error {
	if err := setTimes(stage, opts.commit); err != nil {
		return err
	}
	version := strings.TrimSuffix(opts.version, revision)
	cmd := exec.CommandContext(ctx, "go", "tool", "-modfile=tools/go.mod", "nfpm", "package",
		"--config", "packaging/"+name+".yaml", "--packager", "deb", "--target", deb)
	cmd.Env = append(os.Environ(), "STAGE="+stage, "DEB_VERSION="+version, "DEB_ARCH="+opts.arch,
		"DEB_MAINTAINER="+opts.maintainer, "SOURCE_DATE_EPOCH="+strconv.FormatInt(opts.commit.Unix(), 10))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nfpm: %w: %s", err, out)
	}
	return nil
}
