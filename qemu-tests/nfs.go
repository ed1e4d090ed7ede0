package qemutests

import (
	"context"
	"fmt"
	"strings"
)

// NFSPort is where the NFS server listens, for both protocols.
const NFSPort = 2049

// An Export is a directory that the lab's NFS server offers.
type Export struct {
	// Path is the directory, as the lab sees it.
	Path string
	// Pseudo is the NFSv4 path. Empty: the same as Path.
	Pseudo string
	// Access is RO (the default), RW, MDONLY, …
	Access string
	// Clients are addresses or networks that may mount. Empty: everybody.
	Clients []string
	// Versions are the NFS versions offered, 3 and 4. Empty: both.
	Versions []int
	// Squash is No_Root_Squash (the default), Root_Squash or All_Squash.
	Squash string
}

// NFSOptions describe the lab's NFS server.
type NFSOptions struct {
	Exports []Export
	// Minor are the minor versions of NFSv4 offered. Empty: 0, 1 and 2.
	Minor []int
	// OwnerNames makes NFSv4 send owners as names, ganesha's own default, which
	// a booting client cannot translate.
	OwnerNames bool
	// Config is appended to ganesha's configuration as it is.
	Config string
	// NoPortmapper leaves rpcbind out. NFSv3 clients must then know the ports.
	NoPortmapper bool
	// Port and MountPort are where NFS and mountd listen. 0: 2049 and 20048.
	Port, MountPort int
}

// StartPortmapper runs rpcbind, which NFSv3 clients ask for mountd's port.
func (l *Lab) StartPortmapper(ctx context.Context) (*Server, error) {
	return l.Start(ctx, Program{
		Name:  "rpcbind",
		Argv:  []string{"rpcbind", "-f", "-w"},
		Ready: l.listening(111),
	})
}

// StartNFS runs nfs-ganesha over the exports, and rpcbind before it if it does
// not run yet. Stopping the server leaves rpcbind alone.
func (l *Lab) StartNFS(ctx context.Context, opts NFSOptions) (*Server, error) {
	if !opts.NoPortmapper && l.listening(111)(ctx) != nil {
		if _, err := l.StartPortmapper(ctx); err != nil {
			return nil, err
		}
	}
	if opts.Port == 0 {
		opts.Port = NFSPort
	}
	if opts.MountPort == 0 {
		opts.MountPort = 20048
	}
	name := l.name("ganesha")
	conf, err := l.writeFile(name+".conf", ganeshaConfig(opts))
	if err != nil {
		return nil, err
	}
	return l.Start(ctx, Program{
		Name:  "nfs",
		Argv:  []string{"ganesha.nfsd", "-F", "-L", "/dev/stdout", "-N", "NIV_EVENT", "-f", conf, "-p", labDir + "/" + name + ".pid"},
		Ready: l.listening(opts.Port),
		// It listens before it registers with the portmapper, and ends when that fails.
		Says: "NFS SERVER INITIALIZED",
	})
}

// ganeshaConfig is the server's configuration file.
func ganeshaConfig(opts NFSOptions) string {
	var b strings.Builder
	minor := opts.Minor
	if len(minor) == 0 {
		minor = []int{0, 1, 2}
	}
	fmt.Fprintf(&b, "NFS_CORE_PARAM {\n")
	fmt.Fprintf(&b, "\tNFS_Port = %d;\n\tMNT_Port = %d;\n", opts.Port, opts.MountPort)
	fmt.Fprintf(&b, "\tNFS_Protocols = %s;\n", joinInts(offered(opts.Exports)))
	fmt.Fprintf(&b, "\tEnable_NLM = false;\n\tEnable_RQUOTA = false;\n")
	fmt.Fprintf(&b, "}\n")
	fmt.Fprintf(&b, "NFSv4 {\n\tGraceless = true;\n\tMinor_Versions = %s;\n\tOnly_Numeric_Owners = %t;\n}\n", joinInts(minor), !opts.OwnerNames)
	for i, e := range opts.Exports {
		b.WriteString(exportBlock(i+1, e))
	}
	b.WriteString(opts.Config)
	return b.String()
}

func exportBlock(id int, e Export) string {
	if e.Pseudo == "" {
		e.Pseudo = e.Path
	}
	if e.Access == "" {
		e.Access = "RO"
	}
	if e.Squash == "" {
		e.Squash = "No_Root_Squash"
	}
	if len(e.Versions) == 0 {
		e.Versions = []int{3, 4}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "EXPORT {\n\tExport_Id = %d;\n\tPath = %q;\n\tPseudo = %q;\n", id, e.Path, e.Pseudo)
	fmt.Fprintf(&b, "\tProtocols = %s;\n\tTransports = TCP;\n\tSecType = sys;\n", joinInts(e.Versions))
	fmt.Fprintf(&b, "\tSquash = %s;\n", e.Squash)
	if len(e.Clients) == 0 {
		fmt.Fprintf(&b, "\tAccess_Type = %s;\n", e.Access)
	} else {
		fmt.Fprintf(&b, "\tAccess_Type = None;\n\tCLIENT {\n\t\tClients = %s;\n\t\tAccess_Type = %s;\n\t}\n",
			strings.Join(e.Clients, ", "), e.Access)
	}
	fmt.Fprintf(&b, "\tFSAL {\n\t\tName = VFS;\n\t}\n}\n")
	return b.String()
}

// offered are the versions that any export offers.
func offered(exports []Export) []int {
	var v3, v4 bool
	for _, e := range exports {
		if len(e.Versions) == 0 {
			return []int{3, 4}
		}
		for _, v := range e.Versions {
			v3 = v3 || v == 3
			v4 = v4 || v == 4
		}
	}
	switch {
	case v3 && !v4:
		return []int{3}
	case v4 && !v3:
		return []int{4}
	}
	return []int{3, 4}
}

func joinInts(ints []int) string {
	s := make([]string, len(ints))
	for i, n := range ints {
		s[i] = fmt.Sprint(n)
	}
	return strings.Join(s, ", ")
}
