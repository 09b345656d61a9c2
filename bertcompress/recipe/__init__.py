"""Recipes: what a run is made from, checked whole before anything starts."""

from bertcompress.recipe.loading import list_recipes, load_recipe
from bertcompress.recipe.schema import TEACHER_SIZED, Recipe, teacher_sized_operators

__all__ = ["TEACHER_SIZED", "Recipe", "list_recipes", "load_recipe", "teacher_sized_operators"]
