package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/config"
	"github.com/sidusboot/sidusboot/image"
	"github.com/sidusboot/sidusboot/kmod"
	"github.com/sidusboot/sidusboot/network"
	"github.com/sidusboot/sidusboot/nfs"
	"github.com/sidusboot/sidusboot/overlay"
	"github.com/sidusboot/sidusboot/rwlayer"
)

// A node is this machine while it boots.
type node struct {
	*narrator
	cfg    config.Config
	system *system
	nfs    *nfs.Mounter
	random chan error

	lease  *network.Lease
	source nfs.Source
	lun    *lun // nil unless sidus.rw=iscsi
	union  chan unionResult
	// loaded is closed when the modules that load on the side are in.
	loaded chan struct{}
	// waiting is what the stage waits for, under the narrator's mutex.
	waiting string
}

// A unionResult is the kind of union that the kernel can do.
type unionResult struct {
	kind overlay.Kind
	err  error
}

func newNode(log *logger) *node {
	n := &node{narrator: &narrator{log: log, report: &report{}}}
	n.system = &system{}
	n.nfs = &nfs.Mounter{System: n.system, Logf: log.errorf}
	return n
}

// boot is the whole story. It does not return: it ends in the real init, or in
// a restart of the machine.
func (n *node) boot() {
	if err := n.early(); err != nil {
		n.log.errorf("%v", err)
		n.restart(n.panicDelay())
	}
	n.until(n.stage("config", n.configure))
	n.until(n.stage("modules", n.openModules))
	for attempt := 1; ; attempt++ {
		n.report.Attempts = attempt
		err := n.prepare()
		if err == nil {
			break
		}
		n.failed(err, attempt)
		n.undo()
	}
	<-n.loaded
	n.until(n.stay())
	if n.cfg.Break {
		n.log.errorf("rd.break: stopping before the real init")
		n.shell("goes on")
	}
	err := n.handover()
	// Mounts have moved by now: there is no way back.
	n.log.errorf("handover: %v", err)
	n.restart(n.panicDelay())
}

// prepare makes the union, complete and tested, at /aufs. It can be run again
// after undo.
func (n *node) prepare() error {
	if err := n.watched("network", n.bringNetworkUp); err != nil {
		return err
	}
	if err := n.watched("nfs", n.mountRoot); err != nil {
		return err
	}
	if err := n.watched("rw", n.mountRW); err != nil {
		return err
	}
	if err := n.watched("union", n.mountUnion); err != nil {
		return err
	}
	return n.watched("identity", n.writeFiles)
}

// undo takes away what a failed attempt left. The network stays: a link that
// goes down and up starts the switch's spanning tree anew.
func (n *node) undo() {
	if err := unmountAll(unionDir, rwDir); err != nil {
		n.log.errorf("%v", err)
	}
	n.dropLUN()
	if err := unmountAll(checkDir, roDir); err != nil {
		n.log.errorf("%v", err)
	}
}

// dropLUN ends the session with the node's target, if there is one.
func (n *node) dropLUN() {
	if n.lun == nil {
		return
	}
	if err := n.lun.detach(); err != nil {
		n.log.errorf("%v", err)
	}
	n.lun = nil
}

// early mounts what everything else needs.
func (n *node) early() error {
	if err := mountEarly(); err != nil {
		return fmt.Errorf("early mounts: %w", err)
	}
	if err := n.log.openKmsg(); err != nil {
		return err
	}
	n.random = make(chan error, 1)
	go func() {
		defer n.recovered()
		n.random <- seedRandom()
	}()
	return nil
}

// configure reads the words.
func (n *node) configure() (string, error) {
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return "", err
	}
	file, err := os.ReadFile(image.Config)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	n.cfg, err = config.Parse(string(cmdline), string(file))
	n.system.initProgram = n.cfg.Init
	if n.cfg.Events != "" {
		if err := n.openEvents(n.cfg.Events); err != nil {
			n.cfg.Notes = append(n.cfg.Notes, err.Error())
		}
	}
	for _, note := range n.cfg.Notes {
		n.log.errorf("%s", note)
	}
	n.report.Notes = n.cfg.Notes
	return "", err
}

// openModules reads what the image has for this kernel.
func (n *node) openModules() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", fmt.Errorf("uname: %w", err)
	}
	release := unix.ByteSliceToString(u.Release[:])
	n.report.Kernel, n.report.Version = release, version
	loader, err := kmod.Open("/", release, kmod.Options{Params: n.cfg.Modules, Blacklist: n.cfg.Blacklist})
	if err != nil {
		return "", err
	}
	n.system.loader = loader
	n.report.Profile = loader.Profile()
	return release, nil
}

// loadUnion loads the modules that the network does not need, while the
// network waits for its answers.
func (n *node) loadUnion(version string) {
	n.union = make(chan unionResult, 1)
	n.loaded = make(chan struct{})
	go func() {
		defer n.recovered()
		defer close(n.loaded)
		// NFS first, it is needed first. Errors come again where it is used.
		_ = n.system.Load("nfs")
		if version != "" {
			_ = n.system.Load(nfs.Module(version))
		}
		kind, err := overlay.Choose(n.system, unionWanted(n.cfg.Union))
		n.union <- unionResult{kind, err}
		if err := n.system.loader.LoadNamed(); err != nil {
			n.log.errorf("initrdgen build --module: %v", err)
		}
		if n.cfg.RW.Kind == "iscsi" {
			_ = n.loadAll(append(iscsiModules, "ext4"))
		}
	}()
}

func (n *node) loadAll(modules []string) error { return n.system.loader.Load(modules...) }

func unionWanted(u config.Union) overlay.Kind {
	switch u {
	case config.UnionAufs:
		return overlay.Aufs
	case config.UnionOverlay:
		return overlay.Overlay
	}
	return ""
}

// mountRoot finds out what the root is and mounts it.
func (n *node) mountRoot() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), n.cfg.Timeout)
	defer cancel()
	root, err := config.ResolveRoot(n.cfg.Root, n.leaseFacts(), n.cfg.FileRoot)
	if err != nil {
		return "", err
	}
	addr, err := n.address(ctx, root.Server)
	if err != nil {
		return "", err
	}
	n.source = nfs.Source{
		Server: root.Server, Addr: addr, Path: root.Path, Client: n.lease.Addr.Addr(),
		Version: root.Version, Options: root.Options,
	}
	n.waitFor("the NFS server " + addr.String())
	version, err := n.nfs.Mount(ctx, n.source, roDir)
	if err != nil {
		return "", err
	}
	writable, err := n.nfs.Writable(n.source, version, checkDir)
	if err != nil {
		n.log.errorf("%v", err)
	}
	if writable {
		if n.cfg.RefuseWritable {
			return "", fmt.Errorf("nfs: %s: %w", n.source, nfs.ErrWritable)
		}
		n.log.errorf("nfs: %s: %v", n.source, nfs.ErrWritable)
	}
	n.report.Root = rootFacts{
		Source: n.source.String(), Version: version, Options: n.source.Data(version),
		Origin: root.Origin, Writable: writable,
	}
	n.warnSquash()
	return fmt.Sprintf("%s with version %s, from the %s", n.source, version, root.Origin), nil
}

// warnSquash warns of an export in which root is nobody: login and sudo fail
// there in ways that nobody traces back to NFS.
func (n *node) warnSquash() {
	f, err := os.Open(roDir + "/etc/shadow")
	if errors.Is(err, os.ErrPermission) {
		n.log.errorf("nfs: root may not read /etc/shadow in the tree: export it with no_root_squash, or nobody can log in")
	}
	if err == nil {
		f.Close()
	}
}

// mountRW mounts the node's own layer: what sidus.rw= asks for, or, where that
// cannot be had and the operator allows it, a tmpfs instead.
func (n *node) mountRW() (string, error) {
	if n.cfg.RW.Kind == "tmpfs" {
		return n.mountTmpfs()
	}
	detail, err := n.mountVolume()
	if err == nil || n.cfg.RW.Fallback != "tmpfs" {
		return detail, err
	}
	n.log.errorf("rw: %v", err)
	n.log.errorf("rw: a tmpfs instead (sidus.rw.fallback=tmpfs): WHAT THIS NODE WRITES IS LOST AT ITS NEXT BOOT")
	n.report.Failures = append(n.report.Failures, "rw: "+err.Error())
	n.dropLUN()
	return n.mountTmpfs()
}

func (n *node) mountTmpfs() (string, error) {
	if err := rwlayer.Tmpfs(n.system.Mount, rwDir, rwlayer.Options{Size: n.cfg.RW.Size}); err != nil {
		return "", err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(rwDir, &st); err != nil {
		return "", fmt.Errorf("statfs %s: %w", rwDir, err)
	}
	n.report.RW = rwFacts{Kind: "tmpfs", Size: n.cfg.RW.Size, Bytes: st.Blocks * uint64(st.Bsize)}
	return fmt.Sprintf("tmpfs of at most %d MiB", n.report.RW.Bytes>>20), nil
}

// mountUnion stacks the layers and tests that the union can be written.
func (n *node) mountUnion() (string, error) {
	n.waitFor("the modules of the union")
	can := <-n.union
	n.union <- can // For the next attempt.
	if can.err != nil {
		return "", can.err
	}
	n.waitFor("the union to be written and read")
	layers := overlay.Layers{
		Lower: roDir, Upper: rwDir + "/" + rwlayer.Upper, Work: rwDir + "/" + rwlayer.Work,
		XIno: rwDir + "/.aufs.xino", Source: rwDir, Kept: n.report.RW.Kind != "tmpfs",
	}
	if err := overlay.Mount(n.system, can.kind, layers, unionDir, testUnion); err != nil {
		return "", err
	}
	program, err := findInit(unionDir, n.cfg.Init)
	if err != nil {
		return "", err
	}
	resolved, err := resolve(unionDir, program)
	if err != nil {
		return "", err
	}
	if err := testUsers(unionDir + resolved); err != nil {
		return "", err
	}
	n.report.Union.Kind = string(can.kind)
	return string(can.kind), nil
}

// until ends the boot by the policy when a stage failed that cannot be tried
// again with another outcome.
func (n *node) until(err error) {
	if err == nil {
		return
	}
	n.fatal(err)
}

func splitLines(s string) []string {
	return strings.Split(strings.TrimRight(s, "\n"), "\n")
}

// panicDelay is panic= as the kernel means it, for a failure after which
// nothing else is left: default 30 s, and 0 waits for ever.
func (n *node) panicDelay() time.Duration {
	if p := n.cfg.Panic; p != nil {
		if *p == 0 {
			return -1
		}
		return time.Duration(max(*p, 0)) * time.Second
	}
	return defaultDelay
}
