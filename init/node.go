package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/sidusboot/sidusboot/identity"
	"github.com/sidusboot/sidusboot/resident"
	"github.com/sidusboot/sidusboot/sidusnode"
)

// leaveNode leaves sidusnode, which is this program, and what it has to know of
// this boot.
func (n *node) leaveNode() error {
	if err := os.Symlink(resident.Program, filepath.Join(stateDir, sidusnode.Name)); err != nil {
		return err
	}
	if err := os.WriteFile(sidusnode.FactsFile, []byte(n.facts().String()), 0o644); err != nil {
		return fmt.Errorf("the facts for %s: %w", sidusnode.Name, err)
	}
	if n.root.Version == "" {
		return nil
	}
	files, err := n.nodeFiles()
	n.optional(err)
	recipe := sidusnode.Recipe{
		Options: n.report.Root.Options, Init: n.cfg.Init, Size: n.cfg.RW.Size, UsrDirect: n.cfg.UsrDirect, Files: *files,
	}
	if err := os.WriteFile(sidusnode.RecipeFile, []byte(recipe.String()), 0o600); err != nil {
		return fmt.Errorf("the settings for an update: %w", err)
	}
	return nil
}

func (n *node) facts() sidusnode.Facts {
	f := sidusnode.Facts{
		Product: version, Source: n.root.String(), NFS: n.root.NFS, Version: n.root.Version, Pinned: n.cfg.TreeVersion != "",
		Union: n.report.Union.Kind, RW: n.report.RW.Kind, Device: n.report.RW.Device, Slot: n.slot(), Spread: n.cfg.Spread, Follow: n.cfg.Follow.String(),
	}
	if n.root.Version != "" {
		f.Base = n.root.Base.String()
		// Asked each time, also if the operator has chosen the version.
		f.Data = n.root.Base.Data(f.NFS) + ",actimeo=0"
	}
	if n.lun != nil {
		f.Target = n.lun.Target.Name
		f.Session = fmt.Sprintf("session%d", n.lun.ID().Session)
	}
	return f
}

// slot is a number of this node's own, the same at each boot.
func (n *node) slot() uint32 {
	id, err := strconv.ParseUint(identity.UUID("slot", n.machine())[:8], 16, 32)
	if err != nil {
		return 0
	}
	return uint32(id)
}
