package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A report is /run/sidusboot/boot.json: what was chosen, from where, and how
// long each stage took. Times are in seconds since the kernel started, or of
// it, to the millisecond. No secret is ever put in it.
type report struct {
	Version  string
	Kernel   string
	Profile  string
	Attempts int
	Init     string
	Network  networkFacts
	Root     rootFacts
	RW       rwFacts
	ISCSI    *iscsiFacts
	Union    unionFacts
	Stages   []stageFacts
	Modules  []string
	Notes    []string
	Failures history
}

type networkFacts struct {
	Device   string
	MAC      string
	Driver   string
	Proto    string
	Address  string
	Routes   []string
	DNS      []string
	MTU      int
	Hostname string
	Server   string
	Lease    int
	// Others are the NICs beside the one that leads to the root.
	Others []string
}

type rootFacts struct {
	Source   string
	Version  string
	Options  string
	Origin   string
	Writable bool
	// TreeVersion is the ID of the version of a base.
	TreeVersion string
}

type rwFacts struct {
	Kind string
	// Of a tmpfs.
	Size  string
	Bytes uint64
	// Of a volume. Usage is how full it was; Full says that this is too full. Made says that the file system was made in this boot.
	Device     string
	FileSystem string
	UUID       string
	Usage      string
	Full       bool
	Made       bool
}

type iscsiFacts struct {
	Target    string
	Initiator string
	Portals   []string
	LUN       uint64
}

type unionFacts struct {
	Kind string
}

// stageFacts are one stage's times in its last attempt.
type stageFacts struct {
	Name  string
	Start float64
	Took  float64
	Tries int
}

// write puts boot.json and boot.log into dir.
func (r *report) write(dir string, log *logger) error {
	if err := os.WriteFile(filepath.Join(dir, "boot.json"), []byte(r.json()+"\n"), 0o644); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "boot.log"), []byte(log.text()), 0o644); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// json is the report as text. Its names are a contract with those who read it:
// fields may be added, none renamed.
func (r *report) json() string {
	o := newObject("")
	o.text("version", r.Version)
	o.text("kernel", r.Kernel)
	o.text("profile", r.Profile)
	o.number("attempts", int64(r.Attempts))
	o.text("init", r.Init)
	o.object("network", r.Network.json)
	o.object("root", r.Root.json)
	o.object("rw", r.RW.json)
	if r.ISCSI != nil {
		o.object("iscsi", r.ISCSI.json)
	}
	o.object("union", func(o *jsonObject) { o.text("kind", r.Union.Kind) })
	stages := make([]string, len(r.Stages))
	for i, s := range r.Stages {
		stage := newObject("    ")
		stage.text("name", s.Name)
		stage.seconds("start", s.Start)
		stage.seconds("took", s.Took)
		stage.number("tries", int64(s.Tries))
		stages[i] = stage.String()
	}
	o.raw("stages", "["+strings.Join(stages, ", ")+"]")
	o.texts("modules", r.Modules)
	o.texts("notes", r.Notes)
	o.texts("failures", r.Failures.texts())
	return o.String()
}

func (f *networkFacts) json(o *jsonObject) {
	o.text("device", f.Device)
	o.text("mac", f.MAC)
	o.text("driver", f.Driver)
	o.text("proto", f.Proto)
	o.text("address", f.Address)
	o.texts("routes", f.Routes)
	o.texts("dns", f.DNS)
	o.number("mtu", int64(f.MTU))
	o.text("hostname", f.Hostname)
	o.text("dhcp_server", f.Server)
	o.number("lease_seconds", int64(f.Lease))
	if len(f.Others) > 0 {
		o.texts("others", f.Others)
	}
}

func (f *rootFacts) json(o *jsonObject) {
	o.text("source", f.Source)
	o.text("nfs_version", f.Version)
	o.text("options", f.Options)
	o.text("origin", f.Origin)
	o.flag("writable", f.Writable)
	if f.TreeVersion != "" {
		o.text("tree_version", f.TreeVersion)
	}
}

func (f *rwFacts) json(o *jsonObject) {
	o.text("kind", f.Kind)
	if f.Size != "" {
		o.text("size", f.Size)
		o.number("bytes", int64(f.Bytes))
	}
	if f.Device != "" {
		o.text("device", f.Device)
		o.text("filesystem", f.FileSystem)
		o.text("uuid", f.UUID)
		o.flag("made", f.Made)
		o.text("usage", f.Usage)
		o.flag("full", f.Full)
	}
}

func (f *iscsiFacts) json(o *jsonObject) {
	o.text("target", f.Target)
	o.text("initiator", f.Initiator)
	o.texts("portals", f.Portals)
	o.number("lun", int64(f.LUN))
}

// A narrator tells the stages: to the log, to the report, and to the tty of
// sidus.events= where there is one.
type narrator struct {
	log    *logger
	report *report

	mu     sync.Mutex
	events *os.File
}

// openEvents starts telling the stages on a tty.
func (n *narrator) openEvents(tty string) error {
	// Not blocking, so that a deadline can be set for a line that nobody reads.
	f, err := os.OpenFile(filepath.Join("/dev", tty), os.O_WRONLY|openNoCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("sidus.events=%s: %w", tty, err)
	}
	n.events = f
	return nil
}

// stage runs one stage of the boot and tells its begin, its end and its time.
func (n *narrator) stage(name string, run func() (string, error)) error {
	start := uptime()
	n.tell(name, "begin", start, 0, "")
	detail, err := run()
	took := uptime() - start
	n.remember(name, start, took)
	if err != nil {
		n.tell(name, "failed", start+took, took, err.Error())
		return &stageError{stage: name, err: err}
	}
	n.tell(name, "done", start+took, took, detail)
	line := fmt.Sprintf("%s: %.3f s", name, took.Seconds())
	if detail != "" {
		line += ": " + detail
	}
	n.log.noticef("%s", line)
	return nil
}

func (n *narrator) tell(name, state string, at, took time.Duration, text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.events == nil {
		return
	}
	text = printable(text)
	// A tty that takes no deadline blocks as ttys do.
	_ = n.events.SetWriteDeadline(time.Now().Add(eventTime))
	_, err := fmt.Fprintf(n.events, "sidusboot-stage %s %s %.3f %.3f %s\n", name, state, at.Seconds(), took.Seconds(), text)
	if err != nil {
		n.events.Close()
		n.events = nil
		n.log.errorf("sidus.events: nobody reads there, no more stages are told: %v", err)
	}
}

// eventTime is how long a stage may wait for the reader of its events.
const eventTime = 2 * time.Second

func (n *narrator) remember(name string, start, took time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	facts := stageFacts{Name: name, Start: milli(start), Took: milli(took), Tries: 1}
	for i := range n.report.Stages {
		if n.report.Stages[i].Name == name {
			facts.Tries = n.report.Stages[i].Tries + 1
			n.report.Stages[i] = facts
			return
		}
	}
	n.report.Stages = append(n.report.Stages, facts)
}

func milli(d time.Duration) float64 {
	return float64(d.Milliseconds()) / 1000
}

// A stageError says in which stage the boot failed.
type stageError struct {
	stage string
	err   error
}

// Error names the stage, unless the package did that already.
func (e *stageError) Error() string {
	prefix := e.stage + ": "
	return prefix + strings.TrimPrefix(e.err.Error(), prefix)
}

func (e *stageError) Unwrap() error { return e.err }
