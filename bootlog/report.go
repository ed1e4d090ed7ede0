package bootlog

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A Report is boot.json: what was chosen, from where, and how long each stage took.
// No secret is ever put in it.
type Report struct {
	Version  string
	Kernel   string
	Profile  string
	Attempts int
	Init     string
	Network  Network
	Root     Root
	RW       RW
	ISCSI    *ISCSI
	Union    Union
	Stages   []Stage
	Modules  []string
	// Devices are the modaliases of all devices of the node.
	Devices  []string
	Notes    []string
	Failures History
}

// AddNote adds a note, unless the report has it.
func (r *Report) AddNote(note string) {
	if !slices.Contains(r.Notes, note) {
		r.Notes = append(r.Notes, note)
	}
}

// Network is what the NIC that leads to the root was given.
type Network struct {
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

// Root is the tree.
type Root struct {
	Source   string
	Version  string
	Options  string
	Origin   string
	Writable bool
	// TreeVersion is the ID of the version of a base.
	TreeVersion string
}

// RW is the node's own layer.
type RW struct {
	Kind string
	// Of a tmpfs.
	Size  string
	Bytes uint64
	// Of a volume. Usage is how full it was, Full that this is too full, Made that
	// the file system was made in this boot.
	Device     string
	FileSystem string
	UUID       string
	Usage      string
	Full       bool
	Made       bool
	// Begun is the tree on which its upper layer was begun, where that was in an
	// earlier boot; Archived is what that layer is called now.
	Begun, Archived string
}

// ISCSI is where a volume comes from.
type ISCSI struct {
	Target    string
	Initiator string
	Portals   []string
	LUN       uint64
}

// Union is the union of the tree and the layer.
type Union struct {
	Kind string // "aufs" or "overlay"
	// UsrDirect says that /usr is the tree's own.
	UsrDirect bool
}

// A Stage has one stage's times, of its last attempt: Start since the kernel
// started, in seconds with three decimals.
type Stage struct {
	Name  string
	Start float64
	Took  float64
	Tries int
}

// Write puts boot.json and boot.log into dir.
func (r *Report) Write(dir string, log *Logger) error {
	if err := os.WriteFile(filepath.Join(dir, "boot.json"), []byte(r.json()+"\n"), 0o644); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "boot.log"), []byte(log.Text()), 0o644); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// json is the report as text. Its names are a contract with those who read it:
// fields may be added, none renamed.
func (r *Report) json() string {
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
	o.object("union", func(o *jsonObject) {
		o.text("kind", r.Union.Kind)
		o.flag("usr_direct", r.Union.UsrDirect)
	})
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
	o.texts("devices", r.Devices)
	o.texts("notes", r.Notes)
	o.texts("failures", r.Failures.texts())
	return o.String()
}

func (f *Network) json(o *jsonObject) {
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

func (f *Root) json(o *jsonObject) {
	o.text("source", f.Source)
	o.text("nfs_version", f.Version)
	o.text("options", f.Options)
	o.text("origin", f.Origin)
	o.flag("writable", f.Writable)
	if f.TreeVersion != "" {
		o.text("tree_version", f.TreeVersion)
	}
}

func (f *RW) json(o *jsonObject) {
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
		o.text("layer_begun_on", f.Begun)
		o.text("layer_archived", f.Archived)
	}
}

func (f *ISCSI) json(o *jsonObject) {
	o.text("target", f.Target)
	o.text("initiator", f.Initiator)
	o.texts("portals", f.Portals)
	o.number("lun", int64(f.LUN))
}
